#include "compiler/sema/exports.h"

#include <algorithm>
#include <map>
#include <set>

#include <nlohmann/json.hpp>

#include "compiler/sema/text.h"
#include "compiler/syntax/print.h"

namespace dsc::sema {
namespace {

using syntax::Expr;
using syntax::ExprKind;
using syntax::IndexKind;

constexpr std::int64_t kMaxCopies = 1000000;  // stored names of one export

using Indices = std::map<std::string, std::int64_t>;  // what `i` is in the copy of a line that is being made

struct Found {
  ParameterId parameter;
  const syntax::Param* line;
  int indexed_axis = -1;
  std::int64_t index = 0;
};

class Exporter {
 public:
  explicit Exporter(const Program& program) : program_(program), model_(program.model), diagnostics_(program.diagnostics), whole_(model_.parameters.size()), parts_(model_.parameters.size()) {}

  ExportMap run(const syntax::Export& section) {
    out_.present = true;
    if (section.format.text != "huggingface")
      fail(diagnostics_, Code::bad_export_entry, section.format.range, ticked(section.format.text) + " is no format", "", "it is `huggingface`");
    if (section.architectures.size() == 1) out_.architecture = section.architectures[0].text;
    else fail(diagnostics_, Code::bad_export_entry, section.architectures.empty() ? section.format.range : section.architectures[1].range,
              section.architectures.empty() ? "this export has no `architecture`" : "a second `architecture`", "", "write one: `architecture \"GPT2LMHeadModel\"`");
    for (const syntax::Config& config : section.configs)
      for (const syntax::Entry& entry : config.entries) add_config(entry, {""}, !config.written);
    for (const syntax::ExportLine& line : section.lines) add_line(line);
    for (const syntax::StoredName& name : section.ignored) add_ignored(name);
    if (ok_ && program_.sizes_known) check_complete(section);
    return std::move(out_);
  }

 private:
  void bad_line(SourceRange range, std::string message, std::string help = {}) {
    fail(diagnostics_, Code::bad_export_line, range, std::move(message), "", std::move(help));
    ok_ = false;
  }

  // ---- config

  std::optional<nlohmann::ordered_json> json(const Expr& expr) {
    switch (expr.kind) {
      case ExprKind::string: return expr.text;
      case ExprKind::yes: return true;
      case ExprKind::no: return false;
      case ExprKind::null: return nullptr;
      case ExprKind::list: {
        nlohmann::ordered_json list = nlohmann::ordered_json::array();
        for (const Expr& child : expr.children) {
          std::optional<nlohmann::ordered_json> value = json(child);
          if (!value) return std::nullopt;
          list.push_back(std::move(*value));
        }
        return list;
      }
      case ExprKind::integer: case ExprKind::real: case ExprKind::name: case ExprKind::unary: case ExprKind::binary: case ExprKind::call: {
        std::optional<Scalar> value = evaluate(expr, scalar_names(program_, 0), program_.folding());
        if (!value) return std::nullopt;
        if (value->whole) return value->integer;
        return value->number;
      }
      default: break;
    }
    fail(diagnostics_, Code::bad_export_entry, expr.range, ticked(syntax::print(expr)) + " cannot be a config value", "", "it may be a number, a string, `true`, `false`, `null`, a list or nested entries");
    return std::nullopt;
  }

  void add_config(const syntax::Entry& entry, const std::vector<std::string>& prefixes, bool compared) {
    std::vector<std::string> keys;
    for (const std::string& prefix : prefixes) {
      keys.push_back(prefix + entry.name.text);
      for (const syntax::Name& name : entry.alternatives) keys.push_back(prefix + name.text);
    }
    if (entry.value.kind == ExprKind::object) {
      for (std::string& key : keys) key += ".";
      for (const syntax::Entry& inner : entry.value.entries) add_config(inner, keys, compared);
      return;
    }
    for (const std::string& key : keys)
      if (!config_keys_.insert(key).second) fail(diagnostics_, Code::bad_export_entry, entry.name.range, "the config key " + ticked(key) + " is given twice", "", "keep one");
    if (std::optional<nlohmann::ordered_json> value = json(entry.value)) out_.config.push_back({keys, value->dump(), compared});
  }

  // ---- paths

  // The index in brackets: a variable of the line, or a number.
  std::optional<std::int64_t> index_of(const Expr& expr, const Indices& indices) {
    const ScalarNames names = [&](const Expr& name) -> std::optional<Scalar> {
      if (auto it = indices.find(name.text); it != indices.end()) return Scalar::of(it->second);
      return scalar_names(program_, 0)(name);
    };
    std::optional<Scalar> value = evaluate(expr, names, program_.folding());
    if (!value) ok_ = false;
    return value && value->whole ? std::optional<std::int64_t>(value->integer) : std::nullopt;
  }

  static bool is_variable(const syntax::Segment& segment) {
    return (segment.index == IndexKind::expression || segment.index == IndexKind::axis) && segment.bounds[0].kind == ExprKind::name;
  }

  // Follows a path to a parameter. With `ranges`, variables are 0 and get the size of what they index.
  std::optional<Found> follow(const Expr& path, const Indices& indices, Indices* ranges) {
    if (path.kind != ExprKind::name && path.kind != ExprKind::path) {
      bad_line(path.range, ticked(syntax::print(path)) + " is no path of a parameter", "write a path, as in `block[i].attn.wq`, or a `concat` of such");
      return std::nullopt;
    }
    const Instance* at = &program_.instances[0];
    for (std::size_t s = 0; s < path.segments.size(); ++s) {
      const syntax::Segment& segment = path.segments[s];
      auto it = at->names.find(segment.name.text);
      const bool last = s + 1 == path.segments.size();
      const Binding::Kind kind = it == at->names.end() ? Binding::Kind::value : it->second.kind;
      const bool fits = last ? kind == Binding::Kind::parameter : kind == Binding::Kind::instance || kind == Binding::Kind::array;
      if (!fits) return unknown(*at, segment, last);
      if (ranges && is_variable(segment)) {
        const std::int64_t size = range_of(it->second, segment);
        auto [old, fresh] = ranges->try_emplace(segment.bounds[0].text, size);
        if (!fresh && old->second != size) {
          bad_line(segment.range, ticked(segment.bounds[0].text) + " indexes " + std::to_string(old->second) + " elements before and " + std::to_string(size) + " here", "use another letter");
          return std::nullopt;
        }
      }
      std::optional<std::int64_t> index;
      if (!segment.bounds.empty()) {
        index = ranges && is_variable(segment) ? 0 : index_of(segment.bounds[0], indices);
        if (!index) return std::nullopt;
      }
      if (last) return parameter(*at, it->second, segment, index);
      std::optional<int> next = element(it->second, segment, index);
      if (!next) return std::nullopt;
      at = &program_.instances[*next];
    }
    return std::nullopt;
  }

  std::optional<Found> unknown(const Instance& at, const syntax::Segment& segment, bool last) {
    std::vector<std::string> names;
    for (const auto& [name, binding] : at.names) {
      const bool instance = binding.kind == Binding::Kind::instance || binding.kind == Binding::Kind::array;
      if (last ? binding.kind == Binding::Kind::parameter : instance) names.emplace_back(name);
    }
    fail(diagnostics_, Code::unknown_path, segment.name.range, "there is no " + std::string(last ? "parameter " : "instance ") + ticked(segment.name.text) + (at.path.empty() ? std::string() : " in " + ticked(at.generic)), "",
         suggestion(segment.name.text, names));
    ok_ = false;
    return std::nullopt;
  }

  std::int64_t range_of(const Binding& binding, const syntax::Segment& segment) const {
    if (binding.kind == Binding::Kind::array) return static_cast<std::int64_t>(binding.instances.size());
    if (binding.kind != Binding::Kind::parameter || !segment.axis) return 1;
    const syntax::Param& line = *program_.origins[binding.parameter->index()].line;
    for (std::size_t i = 0; i < line.type.axes.size(); ++i)
      if (line.type.axes[i].text == segment.axis->text) return model_.axis(model_.parameter(*binding.parameter).axes[i]).size;
    return 1;
  }

  std::optional<int> element(const Binding& binding, const syntax::Segment& segment, std::optional<std::int64_t> index) {
    const bool array = binding.kind == Binding::Kind::array;
    const auto count = static_cast<std::int64_t>(binding.instances.size());
    if (array && (segment.index == IndexKind::integer || segment.index == IndexKind::expression) && index && *index >= 0 && *index < count) return binding.instances[*index];
    if (array && !program_.sizes_known && index) return binding.instances[0];
    if (!array && segment.index == IndexKind::none) return binding.instances[0];
    fail(diagnostics_, Code::unknown_path, segment.range, ticked(segment.name.text) + (array ? " has the elements 0 to " + std::to_string(count - 1) : " is no array"), "",
         array && !index ? "write `" + segment.name.text + "[i]`" : "");
    ok_ = false;
    return std::nullopt;
  }

  std::optional<Found> parameter(const Instance&, const Binding& binding, const syntax::Segment& segment, std::optional<std::int64_t> index) {
    Found found{*binding.parameter, program_.origins[binding.parameter->index()].line, -1, 0};
    if (segment.index == IndexKind::none) return found;
    if (segment.index == IndexKind::axis)
      for (std::size_t i = 0; i < found.line->type.axes.size(); ++i)
        if (found.line->type.axes[i].text == segment.axis->text) found.indexed_axis = static_cast<int>(i);
    const std::int64_t size = found.indexed_axis < 0 ? 0 : model_.axis(model_.parameter(found.parameter).axes[found.indexed_axis]).size;
    if (found.indexed_axis < 0 || !index || *index < 0 || (*index >= size && program_.sizes_known)) {
      bad_line(segment.range, found.indexed_axis < 0 ? ticked(segment.name.text) + " has no such axis" : "axis " + ticked(segment.axis->text) + " has the elements 0 to " + std::to_string(size - 1), "write `" + segment.name.text + "[axis: e]` with an axis of its `param` line");
      return std::nullopt;
    }
    found.index = *index;
    return found;
  }

  // ---- lines

  // The piece of `path`, its axes in the order of `dims` (null: as declared).
  std::optional<ExportPiece> piece(const Expr& path, const Expr* dims, const Indices& indices) {
    std::optional<Found> found = follow(path, indices, nullptr);
    if (!found) return std::nullopt;
    ExportPiece piece{found->parameter, {}, {}, found->indexed_axis, found->index};
    const std::vector<AxisId>& axes = model_.parameter(found->parameter).axes;
    std::vector<std::string> left;
    for (std::size_t i = 0; i < axes.size(); ++i) left.push_back(static_cast<int>(i) == found->indexed_axis ? "" : found->line->type.axes[i].text);
    if (!dims) {
      for (std::size_t i = 0; i < axes.size(); ++i) {
        if (left[i].empty()) continue;
        piece.permutation.push_back(static_cast<int>(i));
        piece.shape.push_back(model_.axis(axes[i]).size);
      }
      return piece;
    }
    for (const Expr& dim : dims->children) {
      std::int64_t size = 1;
      const std::vector<Expr> one = {dim};
      for (const Expr& name : dim.kind == ExprKind::group ? dim.children : one) {
        auto it = name.kind == ExprKind::name ? std::find(left.begin(), left.end(), name.text) : left.end();
        if (it == left.end()) {
          std::vector<std::string> names;
          for (const std::string& text : left)
            if (!text.empty()) names.push_back(text);
          bad_line(name.range, ticked(syntax::print(name)) + " is no axis of " + ticked(found->line->name.text) + " that is left", names.empty() ? "all its axes are used" : "what is left: " + listed(ticked_all(names), "and"));
          return std::nullopt;
        }
        const auto at = static_cast<std::size_t>(it - left.begin());
        piece.permutation.push_back(static_cast<int>(at));
        size *= model_.axis(axes[at]).size;
        left[at].clear();
      }
      piece.shape.push_back(size);
    }
    std::vector<std::string> missing;
    for (const std::string& name : left)
      if (!name.empty()) missing.push_back(name);
    if (!missing.empty()) {
      bad_line(dims->range, listed(ticked_all(missing), "and") + " of " + ticked(found->line->name.text) + (missing.size() == 1 ? " is" : " are") + " missing here", "a stored tensor holds every axis, merged as `(a b)` where needed");
      return std::nullopt;
    }
    return piece;
  }

  struct Operands {
    std::vector<std::pair<const Expr*, const Expr*>> items;  // path, dims
    int dim = 0;
  };

  std::optional<Operands> operands(const Expr& value) {
    const bool shaped = value.kind == ExprKind::shaped;
    const Expr& inner = shaped ? value.children[0] : value;
    const Expr* dims = shaped ? &value.children[1] : nullptr;
    Operands result;
    if (inner.kind != ExprKind::call) {
      result.items.push_back({&inner, dims});
      return result;
    }
    if (inner.text != "concat") {
      bad_line(inner.callee, ticked(inner.text) + " cannot stand in an export", "write a path, or a `concat` of paths");
      return std::nullopt;
    }
    const Expr* dim = nullptr;
    for (const syntax::Argument& argument : inner.args) {
      if (argument.name) {
        if (argument.name->text == "dim") dim = &argument.value;
        else bad_line(argument.name->range, "`concat` of an export has no argument " + ticked(argument.name->text), "it has `dim`");
        continue;
      }
      const bool own = argument.value.kind == ExprKind::shaped;
      result.items.push_back({own ? &argument.value.children[0] : &argument.value, own ? &argument.value.children[1] : dims});
    }
    if (!dim || dim->kind != ExprKind::integer || dim->integer > 15 || result.items.empty()) {
      bad_line(dim ? dim->range : inner.range, "`concat` joins its operands along a dim, a number from 0", "write `concat(a, b, dim: 0)`");
      return std::nullopt;
    }
    result.dim = static_cast<int>(dim->integer);
    return result;
  }

  std::optional<std::string> name_text(const syntax::StoredName& name, const Indices& indices) {
    std::string text;
    for (const syntax::NamePart& part : name.parts) {
      if (!part.index) {
        text += part.text;
        continue;
      }
      const std::size_t before = diagnostics_.list().size();
      std::optional<std::int64_t> value = index_of(*part.index, indices);
      if (!value) {
        if (diagnostics_.list().size() == before) bad_line(part.index->range, "an index in a name is a whole number");
        return std::nullopt;
      }
      text += std::to_string(*value);
    }
    return text;
  }

  void add_line(const syntax::ExportLine& line) {
    std::optional<Operands> found = operands(line.value);
    if (!found) return;
    Indices ranges;
    for (const auto& [path, dims] : found->items)
      if (!follow(*path, {}, &ranges)) return;
    std::int64_t copies = 1;
    for (const auto& [name, size] : ranges) {
      variables_.try_emplace(name, size);
      if (__builtin_mul_overflow(copies, size, &copies)) copies = kMaxCopies + 1;
      if (copies > kMaxCopies - copies_) return bad_line(line.range, "with this line the export would store more than 1,000,000 tensors");
    }
    copies_ += copies;
    Indices indices;
    expand(line, *found, std::vector<std::pair<std::string, std::int64_t>>(ranges.begin(), ranges.end()), 0, indices);
  }

  // One entry for each combination of the variables' values. False: stop, a mistake was reported.
  bool expand(const syntax::ExportLine& line, const Operands& operands, const std::vector<std::pair<std::string, std::int64_t>>& ranges, std::size_t at, Indices& indices) {
    if (at == ranges.size()) return add_tensor(line, operands, indices);
    for (std::int64_t i = 0; i < ranges[at].second; ++i) {
      indices[ranges[at].first] = i;
      if (!expand(line, operands, ranges, at + 1, indices)) return false;
    }
    return true;
  }

  bool add_tensor(const syntax::ExportLine& line, const Operands& operands, const Indices& indices) {
    ExportTensor tensor;
    tensor.dim = operands.dim;
    for (const syntax::StoredName& name : line.names) {
      std::optional<std::string> text = name_text(name, indices);
      if (!text) return false;
      if (!stored_.insert(*text).second) {
        bad_line(name.range, "the stored name " + ticked(*text) + " is used twice", indices.empty() ? "each tensor has a name of its own" : "put the index into the name: `{" + indices.begin()->first + "}`");
        return false;
      }
      tensor.names.push_back(std::move(*text));
    }
    for (const auto& [path, dims] : operands.items) {
      std::optional<ExportPiece> one = piece(*path, dims, indices);
      if (!one) return false;
      const bool fits = tensor.pieces.empty() || same_but(tensor.pieces[0].shape, one->shape, operands.dim);
      if (!fits || operands.dim >= static_cast<int>(std::max<std::size_t>(1, one->shape.size()))) {
        bad_line(path->range, "this cannot be joined along dim " + std::to_string(operands.dim), "the operands have the same dims, and the same sizes in all but that one");
        return false;
      }
      if (one->indexed_axis < 0) ++whole_[one->parameter.index()];
      else ++parts_[one->parameter.index()][{one->indexed_axis, one->index}];
      tensor.pieces.push_back(std::move(*one));
    }
    out_.tensors.push_back(std::move(tensor));
    return true;
  }

  static bool same_but(std::vector<std::int64_t> a, std::vector<std::int64_t> b, int dim) {
    if (a.size() != b.size() || dim >= static_cast<int>(a.size())) return false;
    a[dim] = b[dim] = 0;
    return a == b;
  }

  void add_ignored(const syntax::StoredName& name) {
    std::vector<std::pair<std::string, std::int64_t>> ranges;
    for (const syntax::NamePart& part : name.parts) {
      if (!part.index) continue;
      std::set<std::string> names;
      collect(*part.index, names);
      for (const std::string& variable : names) {
        auto it = variables_.find(variable);
        if (it == variables_.end()) return bad_line(name.range, ticked("{" + variable + "}") + " ranges over nothing", "use the letter of another line of this export, so that its range is known");
        if (std::find(ranges.begin(), ranges.end(), std::pair<std::string, std::int64_t>(*it)) == ranges.end()) ranges.push_back(*it);
      }
    }
    std::int64_t copies = 1;
    for (const auto& [variable, size] : ranges) {
      if (__builtin_mul_overflow(copies, size, &copies)) copies = kMaxCopies + 1;
      if (copies > kMaxCopies - copies_) return bad_line(name.range, "with this name the export would have more than 1,000,000 names");
    }
    copies_ += copies;
    Indices indices;
    const auto walk = [&](const auto& self, std::size_t at) -> bool {
      if (at == ranges.size()) {
        std::optional<std::string> text = name_text(name, indices);
        if (text) out_.ignored.push_back(*text);
        return text.has_value();
      }
      for (std::int64_t i = 0; i < ranges[at].second; ++i) {
        indices[ranges[at].first] = i;
        if (!self(self, at + 1)) return false;
      }
      return true;
    };
    walk(walk, 0);
  }

  static void collect(const Expr& expr, std::set<std::string>& names) {
    if (expr.kind == ExprKind::name) names.insert(expr.text);
    for (const Expr& child : expr.children) collect(child, names);
  }

  void check_complete(const syntax::Export& section) {
    std::vector<std::string> missing, doubled;
    const auto note = [](std::vector<std::string>& list, const std::string& name) {
      if (std::find(list.begin(), list.end(), name) == list.end()) list.push_back(name);
    };
    for (std::size_t i = 0; i < whole_.size(); ++i) {
      const Instance& owner = program_.instances[program_.origins[i].instance];
      const std::string name = (owner.generic.empty() ? "" : owner.generic + ".") + program_.origins[i].line->name.text;
      std::map<int, std::int64_t> elements;
      bool twice = whole_[i] > 1 || (whole_[i] == 1 && !parts_[i].empty());
      for (const auto& [where, count] : parts_[i]) {
        ++elements[where.first];
        twice = twice || count > 1;
      }
      bool all = whole_[i] == 1;
      for (const auto& [axis, count] : elements) all = all || count == model_.axis(model_.parameters[i].axes[axis]).size;
      if (twice || elements.size() > 1) note(doubled, name);
      else if (!all) note(missing, name);
    }
    if (!missing.empty())
      fail(diagnostics_, Code::export_incomplete, section.format.range, "no line of this export holds " + listed(ticked_all(missing), "or"), "", "add a line for each: `\"name\" = " + missing[0] + "`");
    if (!doubled.empty())
      fail(diagnostics_, Code::export_incomplete, section.format.range, "more than one line of this export holds " + listed(ticked_all(doubled), "and"), "", "keep one line for each");
  }

  const Program& program_;
  const Model& model_;
  Diagnostics& diagnostics_;
  ExportMap out_;
  bool ok_ = true;
  std::int64_t copies_ = 0;  // stored and ignored names so far
  std::set<std::string> config_keys_, stored_;
  std::map<std::string, std::int64_t> variables_;
  std::vector<int> whole_;                                                 // lines that hold a parameter entirely
  std::vector<std::map<std::pair<int, std::int64_t>, int>> parts_;         // or one index of an axis
};

}  // namespace

ExportMap expand_exports(const Program& program) {
  const syntax::Module& module = *program.instances[0].module;
  if (module.exports.empty()) return {};
  if (module.exports.size() > 1)
    fail(program.diagnostics, Code::bad_export_entry, module.exports[1].format.range, "a second `export` in one module", "", "keep one", {{"the first is here", module.exports[0].format.range}});
  return Exporter(program).run(module.exports[0]);
}

}  // namespace dsc::sema
