// The check of one layout. Only for check_layout.cpp and layout_autos.cpp.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "compiler/sema/layouts.h"

namespace dsc::sema {

class LayoutChecker {
 public:
  LayoutChecker(const FlatLayout& layout, const LayoutInput& input, bool chosen, CheckedProgram& out)
      : layout_(layout), input_(input), chosen_(chosen), out_(out), diagnostics_(input.reader.diagnostics()) {}
  void run();
  // A mesh of one axis, `data`, with `ranks` ranks, in place of a layout of the file.
  void run_default(std::int64_t ranks);
  const LayoutSpec& spec() const { return spec_; }

 private:
  struct Split {
    const syntax::Rule* rule;
    AxisId axis;
    std::vector<int> over;
  };
  struct Zero {
    const syntax::Rule* rule;
    int stage;
    std::vector<int> over;
    std::int64_t width;
  };
  struct NotLowered {
    SourceRange range;
    std::string kind;
  };

  void read_mesh(const syntax::Rule& rule);
  bool fit_mesh();
  void note_auto(const std::string& key, const std::string& value, const std::string& reason);
  std::optional<std::vector<int>> mesh_axes(const syntax::Rule& rule);
  std::int64_t size_of_axes(const std::vector<int>& mesh) const;
  std::string mesh_text(const std::vector<int>& mesh) const;
  void split(const syntax::Rule& rule);
  std::optional<AxisId> model_axis(const syntax::Expr& name);
  bool is_array_axis(AxisId axis) const;
  void check_divides(const Split& split);
  void does_not_divide(const Split& split, const Axis& axis, std::int64_t parts);
  void check_mesh_used();
  void check_twice_on_a_tensor();
  void pipeline_option(const syntax::Rule& rule, const syntax::Entry& entry);
  void offload(const syntax::Rule& rule);
  void recompute(const syntax::Rule& rule);
  void instance_path(const syntax::Expr& path, bool indexed);
  void report_not_lowered();

  void zero(const syntax::Rule& rule);
  void zero_option(const syntax::Entry& entry, int stage);
  void widest_zero();
  void resolve_micro_batch();
  void resolve_options();
  Elements elements(const char* name, std::int64_t least, std::int64_t automatic, const std::string& reason, bool noted);
  std::int64_t largest_segment() const;

  const FlatLayout& layout_;
  const LayoutInput& input_;
  const bool chosen_;
  CheckedProgram& out_;
  Diagnostics& diagnostics_;
  LayoutSpec spec_;
  bool mesh_ok_ = true;
  std::vector<bool> automatic_;  // for each mesh axis: written as `auto`
  std::set<int> used_;           // mesh axes that some split uses
  std::vector<Split> splits_;
  std::vector<Zero> zeros_;
  std::vector<NotLowered> not_lowered_;
};

}  // namespace dsc::sema
