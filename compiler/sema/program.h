// What the parts of the checker share while they build a model: the instances of modules, what names stand for in each,
// and the model so far.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "compiler/sema/files.h"
#include "compiler/sema/scalar.h"
#include "compiler/support/model.h"

namespace dsc::sema {

// What an expression in `forward` is worth. `pending`: the result of dot, attend or lookup with what was added to it,
// not rounded yet.
struct Value {
  enum class Kind { error, scalar, truth, tensor } kind = Kind::error;
  Scalar scalar;
  bool truth = false;
  std::optional<OpId> op;  // tensor (a loss too)
  bool pending = false;
};

// `broken`: its declaration has a mistake that is reported, so uses of it are not.
struct Binding {
  enum class Kind { axis, scalar, parameter, instance, array, value, broken } kind = Kind::value;
  std::optional<AxisId> axis;            // axis; array: the one it is over
  Scalar scalar;
  std::optional<ParameterId> parameter;
  std::vector<int> instances;            // instance: one; array: one for each index
  Value value;
};

using Names = std::map<std::string_view, Binding>;

struct Instance {
  const syntax::Module* module = nullptr;
  std::size_t file = 0;
  std::string path;     // "block[3].attn"; empty for the model itself
  std::string generic;  // "block.attn"
  Names names;
  std::vector<AxisId> made;  // axes that may not stand in its results
};

// A parameter's own line, and the instance it belongs to.
struct ParameterOrigin {
  const syntax::Param* line;
  int instance;
  bool decays;
};

// What checking one file has taken so far, over the model and all modules and functions by themselves: a few lines can
// ask for more than any machine has.
struct Work {
  std::int64_t calls = 0;        // of functions and instances, and elements that a `repeat` walked
  std::int64_t expressions = 0;  // evaluated
  std::int64_t operations = 0;   // made
  std::int64_t instances = 0;
  bool spent = false;            // too much, which is reported
};

struct Program {
  const SourceMap& sources;
  Diagnostics& diagnostics;
  const Files& files;
  Work& work;
  bool sizes_known = true;  // false: a module is checked alone, with made-up sizes

  Model model;
  std::deque<Instance> instances;
  std::vector<ParameterOrigin> origins;    // one for each of model.parameters
  std::map<std::string, AxisId> made;      // axes by generic path: one for all elements of an array
  std::set<const syntax::Module*> used;    // instantiated so far
  std::set<const syntax::Function*> called;
  Names builtins;                          // batch, seq

  // Whether it is worth going on: what is asked for is within bounds, and not much is wrong. (One mistake is found again
  // wherever the function or module around it is used, and to look for a name that was meant takes its time.)
  bool goes_on() const { return !work.spent && diagnostics.reports() < 200; }
  Folding folding() const { return {diagnostics, sizes_known}; }
  std::string axis_name(AxisId id) const;
  // The names that `instance` sees, or null.
  const Binding* find(int instance, std::string_view name) const;
};

// An empty program with the axes `batch` and `seq`.
Program make_program(const SourceMap& sources, Diagnostics& diagnostics, const Files& files, Work& work, std::int64_t batch, SourceRange batch_source,
                     std::int64_t sequence, SourceRange sequence_source);

// The scalar worth of names inside an instance (or of nothing but numbers where `instance` is negative).
ScalarNames scalar_names(const Program& program, int instance);
// All names visible in an instance, for suggestions.
std::vector<std::string> visible_names(const Program& program, int instance);

// Instantiates the model of `train.model = call`, or `module` alone with made-up sizes. Nothing on a mistake.
std::optional<int> instantiate_model(Program& program, const syntax::Expr& call);
std::optional<int> instantiate_alone(Program& program, const syntax::Module& module, std::size_t file);

}  // namespace dsc::sema
