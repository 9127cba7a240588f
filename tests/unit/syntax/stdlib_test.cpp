#include "compiler/syntax/stdlib.h"

#include <gtest/gtest.h>

#include "tests/unit/syntax/parsing.h"

namespace dsc::syntax {
namespace {

TEST(Stdlib, NamesAndTexts) {
  const std::vector<std::string_view> names = stdlib_names();
  EXPECT_EQ(names, (std::vector<std::string_view>{"gpt2", "llama", "nn"}));
  for (std::string_view name : names) {
    const std::optional<std::string_view> text = stdlib_text(name);
    ASSERT_TRUE(text);
    EXPECT_EQ(*text, read_file(std::string(DSC_SOURCE_DIR) + "/stdlib/" + std::string(name) + ".dsm"));
    const Parsed parsed = parse_text(std::string(*text));
    EXPECT_TRUE(parsed.file) << parsed.errors();
  }
  EXPECT_FALSE(stdlib_text("gpt3"));
}

TEST(Stdlib, ExamplesOfTheReferenceParse) {
  const std::string reference = read_file(DSC_SOURCE_DIR "/stdlib/LANGUAGE.md");
  const std::string begin = "```dsm\n", end = "```\n";
  int count = 0;
  for (std::size_t at = reference.find(begin); at != std::string::npos; at = reference.find(begin, at)) {
    at += begin.size();
    const Parsed parsed = parse_text(reference.substr(at, reference.find(end, at) - at));
    EXPECT_TRUE(parsed.file) << parsed.errors();
    ++count;
  }
  EXPECT_EQ(count, 5);
}

TEST(Stdlib, ModelsExportThemselves) {
  const Parsed gpt2 = parse_text(std::string(*stdlib_text("gpt2")));
  ASSERT_TRUE(gpt2.file);
  const Export& e = gpt2.file->modules.back().exports.at(0);
  EXPECT_EQ(e.format.text, "huggingface");
  EXPECT_EQ(e.architectures.at(0).text, "GPT2LMHeadModel");
  EXPECT_EQ(e.lines.size(), 16u);
  EXPECT_EQ(e.ignored.size(), 5u);
  const Parsed llama = parse_text(std::string(*stdlib_text("llama")));
  ASSERT_TRUE(llama.file);
  EXPECT_EQ(llama.file->modules.back().exports.at(0).architectures.at(0).text, "LlamaForCausalLM");
  EXPECT_EQ(llama.file->modules.back().exports.at(0).lines.size(), 12u);
}

}  // namespace
}  // namespace dsc::syntax
