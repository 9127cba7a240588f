// Units, ids, source places, rendering of diagnostics, nearest names.
#include <gtest/gtest.h>

#include "compiler/support/diagnostic.h"
#include "compiler/support/ids.h"
#include "compiler/support/json_limits.h"
#include "compiler/support/units.h"

namespace dsc {
namespace {

TEST(Units, ForPeople) {
  EXPECT_EQ(human(Bytes(0)), "0 B");
  EXPECT_EQ(human(Bytes(1023)), "1023 B");
  EXPECT_EQ(human(Bytes(1536)), "1.50 KiB");
  EXPECT_EQ(human(Bytes(std::int64_t{5} << 30)), "5.00 GiB");
  EXPECT_EQ(human_count(999), "999");
  EXPECT_EQ(human_count(124439808), "124 M");
  EXPECT_EQ(with_commas(0), "0");
  EXPECT_EQ(with_commas(999), "999");
  EXPECT_EQ(with_commas(1000), "1,000");
  EXPECT_EQ(with_commas(-1234567), "-1,234,567");
}

TEST(Units, AlignUp) {
  EXPECT_EQ(align_up(Bytes(0), Bytes(64)).value, 0);
  EXPECT_EQ(align_up(Bytes(1), Bytes(64)).value, 64);
  EXPECT_EQ(align_up(Bytes(64), Bytes(64)).value, 64);
}

TEST(Ids, PrintWithTheirLetter) {
  EXPECT_EQ(AxisId(3).str(), "a3");
  EXPECT_EQ(OpId(12).str(), "o12");
  EXPECT_LT(AxisId(1), AxisId(2));
}

TEST(Source, PlacesAndLines) {
  SourceMap sources;
  std::uint32_t file = sources.add({"m.dsm", "one\ntwo three\n\nfour"});
  EXPECT_EQ(sources.str({file, 0, 3}), "m.dsm:1:1");
  EXPECT_EQ(sources.str({file, 8, 13}), "m.dsm:2:5");
  EXPECT_EQ(sources.line_text(file, 8), "two three");
  EXPECT_EQ(sources.str({file, 15, 19}), "m.dsm:4:1");
  EXPECT_EQ(sources.line_text(file, 15), "four");
}

TEST(Diagnostics, RenderAsDesigned) {
  SourceMap sources;
  std::uint32_t file = sources.add({"model.dsm", "axis heads\nsplit heads, hidden over tensor\n"});
  Diagnostic d{Code::axis_does_not_divide, Severity::error, "axis `heads` (12) does not divide over `tensor` (8)", {file, 17, 22},
               "12 over 8 leaves 4", {{"`heads` is 12 here", {file, 5, 10}}}, "on 8 GPUs, `tensor` may be 1, 2 or 4"};
  EXPECT_EQ(render(d, sources),
            "error[DSM0204]: axis `heads` (12) does not divide over `tensor` (8)\n"
            " --> model.dsm:2:7\n"
            "  |\n"
            "2 | split heads, hidden over tensor\n"
            "  |       ^^^^^ 12 over 8 leaves 4\n"
            "note: `heads` is 12 here\n"
            "  --> model.dsm:1:6\n"
            "help: on 8 GPUs, `tensor` may be 1, 2 or 4\n");
}

TEST(Diagnostics, KeepOneOfEachPlace) {
  Diagnostics list;
  Diagnostic d{Code::axis_does_not_divide, Severity::error, "m", {0, 1, 2}, "", {}, ""};
  list.add(d);
  list.add(d);
  d.range.end = 3;
  list.add(d);
  EXPECT_EQ(list.list().size(), 2u);
  EXPECT_TRUE(list.has_errors());
}

TEST(JsonLimits, DepthAndValues) {
  EXPECT_EQ(json_limits_problem(""), "");
  EXPECT_EQ(json_limits_problem(std::string(64, '[')), "");
  EXPECT_EQ(json_limits_problem(std::string(65, '{')), "is nested more than 64 deep");
  EXPECT_EQ(json_limits_problem("[[],[],[]]", {.depth = 2, .values = 6}), "");
  EXPECT_EQ(json_limits_problem("[[],[],[]]", {.depth = 1, .values = 6}), "is nested more than 1 deep");
  EXPECT_EQ(json_limits_problem("[[],[],[]]", {.depth = 2, .values = 5}), "holds more than 5 values");
  EXPECT_EQ(json_limits_problem(R"({"a":1,"b":[2,3]})", {.depth = 2, .values = 6}), "");
  EXPECT_EQ(json_limits_problem(R"({"a":1,"b":[2,3]})", {.depth = 2, .values = 5}), "holds more than 5 values");
  EXPECT_EQ(json_limits_problem(R"(["[[[,,,\"[[[,,,"])", {.depth = 1, .values = 1}), "") << "what stands in a string counts for nothing";
}

TEST(Nearest, SuggestsWhatIsClose) {
  EXPECT_EQ(nearest("widht", {"width", "heads"}), "width");  // two neighbours exchanged count once
  EXPECT_EQ(nearest("widthh", {"width", "heads"}), "width");
  EXPECT_EQ(nearest("contxet", {"context", "content"}), "context");
  EXPECT_EQ(nearest("zzz", {"width"}), "");
}

}  // namespace
}  // namespace dsc
