#include "compiler/sema/names.h"

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "compiler/sema/text.h"

namespace dsc::sema {
namespace {

using syntax::Expr;
using syntax::Name;
using syntax::Statement;
using syntax::StatementKind;

bool is_rule_word(std::string_view name) {
  return name == "all" || name == "auto" || name == "none" || name == "over" || name == "elsewhere";
}

void reserved(const Name& name, const std::string& why, Diagnostics& diagnostics) {
  fail(diagnostics, Code::reserved_name, name.range, ticked(name.text) + " cannot be a name here", why, "choose another name");
}

bool check_free(const Name& name, Diagnostics& diagnostics) {
  const bool builtin = name.text == "batch" || name.text == "seq" || name.text == "pi";
  if (builtin) reserved(name, name.text == "pi" ? "built-in number" : "built-in axis", diagnostics);
  return !builtin;
}

class NameSet {
 public:
  explicit NameSet(Diagnostics& diagnostics) : diagnostics_(diagnostics) {}

  void declare(const Name& name, const char* what) {
    if (!check_free(name, diagnostics_)) return;
    auto [old, fresh] = names_.try_emplace(name.text, Entry{name.range, what});
    if (!fresh) taken(name, old->second);
  }

  // A value may be assigned again, but not over something else.
  void assign(const Name& name) {
    if (!check_free(name, diagnostics_)) return;
    auto [old, fresh] = names_.try_emplace(name.text, Entry{name.range, "value"});
    if (!fresh && std::string_view(old->second.what) != "value") taken(name, old->second);
  }

 private:
  struct Entry {
    SourceRange range;
    const char* what;
  };
  void taken(const Name& name, const Entry& old) {
    fail(diagnostics_, Code::name_taken, name.range, ticked(name.text) + " is the name of " + (std::string_view(old.what) == "axis" || std::string_view(old.what) == "instance" ? "an " : "a ") + old.what + " already",
         "", "axes, formals, parameters, instances and values share one set of names", {{"declared here", old.range}});
  }
  Diagnostics& diagnostics_;
  std::map<std::string_view, Entry> names_;
};

void collect_reads(const Expr& expr, std::set<std::string_view>& reads) {
  if (!expr.segments.empty()) reads.insert(expr.segments[0].name.text);
  for (const syntax::Segment& segment : expr.segments)
    for (const Expr& bound : segment.bounds) collect_reads(bound, reads);
  for (const Expr& child : expr.children) collect_reads(child, reads);
  for (const syntax::Argument& argument : expr.args) collect_reads(argument.value, reads);
}

void collect_reads(const std::vector<Statement>& body, std::set<std::string_view>& reads) {
  for (const Statement& statement : body) {
    for (const Expr& value : statement.values) collect_reads(value, reads);
    collect_reads(statement.body, reads);
  }
}

void check_assigned(const std::vector<Statement>& body, const std::set<std::string_view>& reads, NameSet& names, Diagnostics& diagnostics) {
  for (const Statement& statement : body) {
    for (const Name& target : statement.targets) {
      if (statement.kind == StatementKind::repeat) {
        check_not_reserved(target, diagnostics);
        names.declare(target, "instance");
      } else {
        names.assign(target);
      }
      if (!reads.contains(target.text))
        fail(diagnostics, Code::unused_value, target.range, ticked(target.text) + " is never used", "", "use it, or remove it");
    }
    check_assigned(statement.body, reads, names, diagnostics);
  }
}

void check_body(const std::vector<Statement>& body, SourceRange place, const std::string& what, NameSet& names, Diagnostics& diagnostics) {
  const auto misplaced = [&](const Statement& statement) {
    fail(diagnostics, Code::bad_body, statement.range, "`return` stands before the end of " + what, "", "a body has one `return`, its last statement");
  };
  const auto no_return_in = [&](const auto& self, const std::vector<Statement>& inner) -> void {
    for (const Statement& statement : inner) {
      if (statement.kind == StatementKind::give) misplaced(statement);
      self(self, statement.body);
    }
  };
  for (std::size_t i = 0; i < body.size(); ++i) {
    if (body[i].kind == StatementKind::give && i + 1 < body.size()) misplaced(body[i]);
    no_return_in(no_return_in, body[i].body);
  }
  if (body.empty() || body.back().kind != StatementKind::give)
    fail(diagnostics, Code::bad_body, place, what + " does not end in `return`", "", "end it with `return` and what it gives");
  std::set<std::string_view> reads;
  collect_reads(body, reads);
  check_assigned(body, reads, names, diagnostics);
}

}  // namespace

bool check_not_reserved(const Name& name, Diagnostics& diagnostics) {
  if (!is_rule_word(name.text)) return true;
  reserved(name, "layout rules use this word", diagnostics);
  return false;
}

void check_names(const syntax::Module& module, Diagnostics& diagnostics) {
  NameSet names(diagnostics);
  for (const syntax::Formal& formal : module.formals) {
    if (formal.kind == syntax::FormalKind::axis) check_not_reserved(formal.name, diagnostics);
    names.declare(formal.name, "formal");
  }
  using Kind = syntax::Module::ItemKind;
  for (const syntax::Module::Item& item : module.items) {
    if (item.kind == Kind::axis) {
      check_not_reserved(module.axes[item.index].name, diagnostics);
      names.declare(module.axes[item.index].name, "axis");
    }
    if (item.kind == Kind::param) names.declare(module.params[item.index].name, "parameter");
    if (item.kind == Kind::sub) {
      check_not_reserved(module.subs[item.index].name, diagnostics);
      names.declare(module.subs[item.index].name, "instance");
    }
  }
  const std::string what = "the forward of module " + ticked(module.name.text);
  if (module.forwards.size() != 1) {
    const bool none = module.forwards.empty();
    fail(diagnostics, Code::bad_body, none ? module.name.range : module.forwards[1].signature,
         "module " + ticked(module.name.text) + (none ? " has no `forward`" : " has a second `forward`"), "", "a module has exactly one");
    if (none) return;
  }
  const syntax::Forward& forward = module.forwards[0];
  for (const syntax::Input& input : forward.inputs) names.assign(input.name);
  check_body(forward.body, forward.signature, what, names, diagnostics);
}

void check_names(const syntax::Function& function, Diagnostics& diagnostics) {
  NameSet names(diagnostics);
  for (const syntax::Formal& formal : function.formals) {
    if (formal.kind == syntax::FormalKind::tensor) names.assign(formal.name);
    else names.declare(formal.name, "formal");
  }
  check_body(function.body, function.name.range, "function " + ticked(function.name.text), names, diagnostics);
}

}  // namespace dsc::sema
