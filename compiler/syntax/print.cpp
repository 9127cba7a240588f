#include "compiler/syntax/print.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <utility>

namespace dsc::syntax {
namespace {

std::string shortest(double value) {
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  std::string text(buffer, end);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') out += "\\n";
    else if (c == '\t') out += "\\t";
    else out += c;
  }
  return out + "\"";
}

template <class T, class Text>
std::string joined(const std::vector<T>& list, const char* separator, Text text) {
  std::string out;
  for (const T& item : list) out += (out.empty() ? "" : separator) + text(item);
  return out;
}

std::string names(const std::vector<Name>& list, const char* separator = ", ") {
  return joined(list, separator, [](const Name& n) { return n.text; });
}

std::string exprs(const std::vector<Expr>& list, const char* separator = ", ") {
  return joined(list, separator, [](const Expr& e) { return print(e); });
}

std::string entries(const std::vector<Entry>& list) {
  return joined(list, ", ", [](const Entry& e) {
    std::string key = e.name.text;
    for (const Name& n : e.alternatives) key += " or " + n.text;
    return key + ": " + print(e.value);
  });
}

std::string print(const Argument& a) { return (a.name ? a.name->text + ": " : "") + dsc::syntax::print(a.value); }

std::string print(const Type& t) {
  const std::string word = t.kind == TypeKind::integer ? "int" : t.kind == TypeKind::loss ? "loss" : t.tensor ? "" : "real";
  if (!t.tensor) return word;
  std::string axes;
  for (std::size_t i = 0; i <= t.axes.size(); ++i) {
    if (t.others == i) axes += (axes.empty() ? "" : ", ") + std::string("...");
    if (i < t.axes.size()) axes += (axes.empty() ? "" : ", ") + t.axes[i].text;
  }
  return word + "[" + axes + "]";
}

std::string print(const std::vector<Formal>& formals) {
  return joined(formals, ", ", [](const Formal& f) {
    const char* word = f.kind == FormalKind::axis ? "axis " : f.kind == FormalKind::integer ? "int " : f.kind == FormalKind::real ? "real " : "";
    return word + f.name.text + (f.fallback ? " = " + dsc::syntax::print(*f.fallback) : "");
  });
}

class Printer {
 public:
  std::string out;

  void line(int depth, const std::string& text) { out += std::string(static_cast<std::size_t>(2 * depth), ' ') + text + "\n"; }

  void statements(const std::vector<Statement>& body, int depth) {
    for (const Statement& s : body) {
      if (s.kind == StatementKind::assign) line(depth, names(s.targets) + " = " + exprs(s.values));
      if (s.kind == StatementKind::give) line(depth, "return " + exprs(s.values));
      if (s.kind != StatementKind::repeat) continue;
      line(depth, "repeat " + names(s.arrays) + " as " + names(s.targets));
      statements(s.body, depth + 1);
    }
  }

  void item(const Module& m, Module::Item i) {
    using Kind = Module::ItemKind;
    if (i.kind == Kind::param) {
      const Param& p = m.params[i.index];
      line(1, "param " + p.name.text + ": " + print(p.type) + " = " + dsc::syntax::print(p.init) + (p.decay ? " decay " + p.decay->text : ""));
    } else if (i.kind == Kind::axis) {
      line(1, "axis " + m.axes[i.index].name.text + " = " + dsc::syntax::print(m.axes[i.index].size));
    } else if (i.kind == Kind::product) {
      line(1, "product " + m.products[i.index].whole.text + " = " + names(m.products[i.index].factors, " * "));
    } else if (i.kind == Kind::sub) {
      const Sub& s = m.subs[i.index];
      line(1, "sub " + s.name.text + (s.array ? "[" + s.array->text + "]" : "") + " = " + dsc::syntax::print(s.module));
    } else if (i.kind == Kind::require) {
      line(1, "require " + dsc::syntax::print(m.requirements[i.index].condition));
    } else if (i.kind == Kind::forward) {
      const Forward& f = m.forwards[i.index];
      const auto type = [](const Type& t) { return print(t); };
      const std::string inputs = joined(f.inputs, ", ", [&](const Input& in) { return in.name.text + ": " + type(in.type); });
      line(1, "forward (" + inputs + ") -> " + joined(f.results, ", ", type));
      statements(f.body, 2);
    } else {
      exported(m.exports[i.index]);
    }
  }

  void exported(const Export& e) {
    line(1, "export " + e.format.text);
    for (const Expr& a : e.architectures) line(2, "architecture " + quoted(a.text));
    for (const Config& c : e.configs) line(2, std::string(c.written ? "config written { " : "config { ") + entries(c.entries) + " }");
    for (const StoredName& n : e.ignored) line(2, "ignore " + quoted(n.text));
    for (const ExportLine& l : e.lines)
      line(2, joined(l.names, " or ", [](const StoredName& n) { return quoted(n.text); }) + " = " + dsc::syntax::print(l.value));
  }

  void rule(const Rule& r) {
    const std::string over = r.over.empty() ? "" : " over " + names(r.over);
    const std::string options = r.options.empty() ? "" : " { " + entries(r.options) + " }";
    switch (r.kind) {
      case RuleKind::mesh: return line(1, "mesh (" + entries(r.mesh) + ")");
      case RuleKind::split: return line(1, "split " + exprs(r.axes) + over + (r.elsewhere ? " elsewhere" : "") + options);
      case RuleKind::zero: return line(1, "zero " + exprs(r.values) + over + options);
      case RuleKind::micro_batch: return line(1, "micro_batch " + exprs(r.values));
      case RuleKind::offload: return line(1, "offload " + r.subject->text + " to " + exprs(r.values));
      case RuleKind::recompute: return line(1, "recompute " + exprs(r.values));
      case RuleKind::wire: return line(1, "wire " + exprs(r.values));
      case RuleKind::overlap: return line(1, "overlap " + exprs(r.values));
      case RuleKind::drop: break;
    }
    if (r.dropped == RuleKind::split) line(1, "drop split " + exprs(r.axes));
    if (r.dropped == RuleKind::zero) line(1, "drop zero" + over);
    if (r.dropped == RuleKind::offload) line(1, "drop offload " + r.subject->text);
    if (r.dropped == RuleKind::recompute) line(1, "drop recompute");
  }

  void train(const Train& t) {
    line(0, "train");
    for (const Entry& e : t.entries) line(1, e.name.text + " = " + dsc::syntax::print(e.value));
    for (const Checkpoint& c : t.checkpoints)
      line(1, "checkpoint every " + dsc::syntax::print(c.every) + (c.to ? " to " + dsc::syntax::print(*c.to) : "") +
                  (c.keep ? " keep " + dsc::syntax::print(*c.keep) : ""));
    for (const Evaluate& e : t.evaluates) line(1, "evaluate every " + dsc::syntax::print(e.every) + " batches " + dsc::syntax::print(e.batches));
  }
};

std::string print(const Segment& s) {
  switch (s.index) {
    case IndexKind::none: return s.name.text;
    case IndexKind::star: return s.name.text + "[*]";
    case IndexKind::range: return s.name.text + "[" + exprs(s.bounds, "..") + "]";
    case IndexKind::axis: return s.name.text + "[" + s.axis->text + ": " + exprs(s.bounds) + "]";
    case IndexKind::integer: case IndexKind::expression: break;
  }
  return s.name.text + "[" + exprs(s.bounds) + "]";
}

// Operands of operators stand in parentheses where they are operators themselves.
std::string operand(const Expr& e) {
  const bool simple = e.kind != ExprKind::binary && e.kind != ExprKind::unary && e.kind != ExprKind::compare;
  return simple ? print(e) : "(" + print(e) + ")";
}

}  // namespace

std::string print(const Expr& e) {
  const auto segments = [&] { return joined(e.segments, ".", [](const Segment& s) { return print(s); }); };
  switch (e.kind) {
    case ExprKind::integer: return std::to_string(e.integer);
    case ExprKind::real: return shortest(e.number);
    case ExprKind::string: return quoted(e.text);
    case ExprKind::quantity: return e.text;
    case ExprKind::yes: case ExprKind::no: case ExprKind::null: case ExprKind::automatic: case ExprKind::name: return e.text;
    case ExprKind::path: return segments();
    case ExprKind::call: return segments() + "(" + joined(e.args, ", ", [](const Argument& a) { return print(a); }) + ")";
    case ExprKind::unary: return "-" + operand(e.children[0]);
    case ExprKind::binary: case ExprKind::compare: {
      const std::string op = e.text == "^" ? e.text : " " + e.text + " ";
      return operand(e.children[0]) + op + operand(e.children[1]);
    }
    case ExprKind::tuple: return "(" + exprs(e.children) + ")";
    case ExprKind::group: return "(" + exprs(e.children, " ") + ")";
    case ExprKind::arrow: return print(e.children[0]) + " -> " + print(e.children[1]);
    case ExprKind::list: return "[" + exprs(e.children) + "]";
    case ExprKind::object: return e.entries.empty() ? "{ }" : "{ " + entries(e.entries) + " }";
    case ExprKind::shaped: return print(e.children[0]) + " as " + print(e.children[1]);
  }
  return "";
}

std::string print(const File& file) {
  Printer p;
  // Declarations in the order of the file.
  std::vector<std::pair<std::uint32_t, std::function<void()>>> parts;
  for (const Use& u : file.uses)
    parts.push_back({u.range.begin, [&] { p.line(0, "use " + (u.library.empty() ? quoted(u.path) : u.library) + (u.alias ? " as " + u.alias->text : "")); }});
  for (const Function& f : file.functions)
    parts.push_back({f.range.begin, [&] {
                       p.line(0, "function " + f.name.text + "(" + print(f.formals) + ")");
                       p.statements(f.body, 1);
                     }});
  for (const Module& m : file.modules)
    parts.push_back({m.range.begin, [&] {
                       p.line(0, "module " + m.name.text + "(" + print(m.formals) + ")");
                       for (const Module::Item& item : m.items) p.item(m, item);
                     }});
  for (const Data& d : file.datas)
    parts.push_back({d.range.begin, [&] {
                       p.line(0, "data");
                       for (const Entry& e : d.entries) p.line(1, e.name.text + " = " + print(e.value));
                     }});
  for (const Train& t : file.trains) parts.push_back({t.range.begin, [&] { p.train(t); }});
  for (const Layout& l : file.layouts)
    parts.push_back({l.range.begin, [&] {
                       p.line(0, "layout " + l.name.text + (l.base ? " = " + l.base->text : ""));
                       for (const Rule& r : l.rules) p.rule(r);
                     }});
  std::sort(parts.begin(), parts.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [begin, part] : parts) part();
  return p.out;
}

}  // namespace dsc::syntax
