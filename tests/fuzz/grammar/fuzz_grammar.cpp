// A .dsm file from anywhere. It ends in diagnostics that can be printed, or in a tree whose standard form is a fixed point
// with the same tree; a program that is small compiles to a plan that the verifier accepts. A first line
// "// flags: --gpus 4 --layout NAME --set KEY=VALUE" gives the command line, as in tests/golden/sema.
#include <charconv>
#include <sstream>

#include "compiler/driver/pipeline.h"
#include "compiler/plan/plan_json.h"
#include "compiler/sema/check.h"
#include "compiler/sema/print.h"
#include "compiler/syntax/format.h"
#include "compiler/syntax/parse.h"
#include "compiler/syntax/print.h"
#include "tests/fuzz/entry.h"

namespace dsc::fuzz {
namespace {

constexpr std::size_t kSmall = 150;  // operations

// A diagnostic has a place, and words.
void check_readable(const Diagnostics& diagnostics, const SourceMap& sources) {
  for (const Diagnostic& d : diagnostics.list()) {
    DSC_CHECK(!d.message.empty() && d.range.file < sources.files().size(), "a diagnostic of nothing");
    DSC_CHECK(d.range.begin <= d.range.end && d.range.end <= sources.files()[d.range.file].text.size(), "a diagnostic outside its file");
  }
  DSC_CHECK(!render(diagnostics, sources).empty() || diagnostics.list().empty(), "diagnostics without words");
}

struct Parsed {
  SourceMap sources;
  Diagnostics diagnostics;
  std::optional<syntax::File> tree;
  explicit Parsed(std::string text) {
    const std::uint32_t file = sources.add({"model.dsm", std::move(text)});
    tree = syntax::parse(file, sources, diagnostics);
  }
};

bool parses_and_formats(std::string_view text) {
  const Parsed parsed{std::string(text)};
  check_readable(parsed.diagnostics, parsed.sources);
  DSC_CHECK(parsed.tree.has_value() != parsed.diagnostics.has_errors(), "neither a tree nor a mistake, or both");
  if (!parsed.tree) return false;
  const std::string formatted = syntax::format(*parsed.tree, parsed.sources);
  const Parsed again(formatted);
  DSC_CHECK(again.tree, "the standard form does not parse");
  DSC_CHECK(syntax::print(*again.tree) == syntax::print(*parsed.tree), "the standard form has another tree");
  DSC_CHECK(syntax::format(*again.tree, again.sources) == formatted, "the standard form has another standard form");
  return true;
}

CheckOptions options_of(std::string_view text) {
  CheckOptions options;
  constexpr std::string_view mark = "// flags: ";
  if (!text.starts_with(mark)) return options;
  std::istringstream words(std::string(text.substr(mark.size(), text.find('\n') - mark.size())));
  std::string flag, value;
  while (words >> flag >> value) {
    std::int64_t gpus = 0;
    const std::size_t equals = value.find('=');
    if (flag == "--gpus" && std::from_chars(value.data(), value.data() + value.size(), gpus).ec == std::errc() && gpus > 0) options.gpus = gpus;
    if (flag == "--layout") options.layout = value;
    if (flag == "--set" && equals != std::string::npos) options.sets.emplace_back(value.substr(0, equals), value.substr(equals + 1));
  }
  return options;
}

}  // namespace

bool accepts(std::string_view bytes) {
  if (!parses_and_formats(bytes)) return false;
  CheckOptions options = options_of(bytes);
  options.folder = "/nowhere";
  SourceMap sources;
  Diagnostics diagnostics;
  const std::uint32_t file = sources.add({"model.dsm", std::string(bytes)});
  std::optional<CheckedProgram> program = check(file, sources, options, diagnostics);
  check_readable(diagnostics, sources);
  DSC_CHECK(program.has_value() != diagnostics.has_errors(), "neither a program nor a mistake, or both");
  if (!program) return true;
  print(*program);
  if (program->model.ops.empty() || program->model.ops.size() > kSmall) return true;
  Result<Plan> plan = compile(*program, sources, options, named_target("cpu"));
  if (!plan) return true;
  (void)check_fits(*plan, *program, sources, options);
  Result<Plan> read = from_json(to_json(*plan));
  DSC_CHECK(read, "a plan that was written is refused: " + read.error().message);
  return true;
}

}  // namespace dsc::fuzz
