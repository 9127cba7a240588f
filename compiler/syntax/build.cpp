#include "compiler/syntax/build.h"

#include <algorithm>
#include <string>
#include <utility>

#include "compiler/syntax/build_expressions.h"

namespace dsc::syntax {
namespace {

using antlr4::ParserRuleContext;
using P = grammar::DsmParser;

class Builder : public ExpressionBuilder {
 public:
  using ExpressionBuilder::ExpressionBuilder;
  std::vector<std::uint32_t> item_begins;

  SourceRange item(ParserRuleContext* c) {
    const SourceRange r = range(c);
    item_begins.push_back(r.begin);
    return r;
  }

  // ---- statements

  std::vector<Statement> body(P::BodyContext* c) {
    std::vector<Statement> list;
    for (P::StatementContext* s : c->statement()) list.push_back(statement(s));
    return list;
  }

  Statement statement(P::StatementContext* c) {
    Statement s;
    s.range = item(c);
    if (P::GiveStatementContext* give = c->giveStatement()) {
      s.kind = StatementKind::give;
      for (P::ExprContext* value : give->expr()) s.values.push_back(expr(value));
    } else if (P::RepeatStatementContext* repeat = c->repeatStatement()) {
      s.kind = StatementKind::repeat;
      s.arrays = names(repeat->names(0)->word());
      s.targets = names(repeat->names(1)->word());
      if (s.arrays.size() != s.targets.size())
        error(Code::repeat_names, range(repeat->names(1)),
              std::to_string(s.targets.size()) + (s.targets.size() == 1 ? " name for " : " names for ") + std::to_string(s.arrays.size()) + (s.arrays.size() == 1 ? " array" : " arrays"), "",
              "give one name for each array: `repeat (dense, sparse) as (d, s) { ... }`", {{"the arrays", range(repeat->names(0))}});
      check_once(s.targets, "this `repeat`");
      s.body = body(repeat->body());
    } else {
      s.kind = StatementKind::assign;
      s.targets = names(c->assignStatement()->target());
      check_once(s.targets, "this assignment");
      s.values.push_back(expr(c->assignStatement()->expr()));
    }
    return s;
  }

  // ---- functions and modules

  std::vector<Formal> formals(P::FormalsContext* c, bool in_module, const std::string& owner) {
    std::vector<Formal> list;
    std::vector<Name> given;
    for (P::FormalContext* f : c->formal()) {
      Formal formal;
      formal.range = range(f);
      formal.name = name(f->word().back());
      if (f->expr() != nullptr) formal.fallback = expr(f->expr());
      if (f->word().size() == 2) {
        const Name type = name(f->word(0));
        if (type.text == "axis") formal.kind = FormalKind::axis;
        else if (type.text == "int") formal.kind = FormalKind::integer;
        else if (type.text == "real") formal.kind = FormalKind::real;
        else {
          const std::string near = nearest(type.text, {"axis", "int", "real"});
          error(Code::formal_type, type.range, "`" + type.text + "` is no type of a formal", near.empty() ? "" : "did you mean `" + near + "`?",
                "formals are `axis width`, `int n` or `real eps = 1e-5`");
        }
      } else if (in_module) {
        error(Code::formal_type, formal.range, "formal `" + formal.name.text + "` of a module has no type", "",
              "write `axis " + formal.name.text + "`, `int " + formal.name.text + "` or `real " + formal.name.text + "`; tensors are inputs of `forward`");
      } else if (formal.fallback) {
        error(Code::formal_type, formal.range, "tensor `" + formal.name.text + "` may have no default", "", "remove the default, or make it `real " + formal.name.text + "`");
      }
      given.push_back(formal.name);
      list.push_back(std::move(formal));
    }
    check_once(given, "the formals of `" + owner + "`");
    return list;
  }

  Function function(P::FunctionDeclContext* c) {
    Function f{name(c->word()), {}, {}, range(c)};
    f.formals = formals(c->formals(), false, f.name.text);
    if (c->body() != nullptr) {
      f.body = body(c->body());
      return f;
    }
    Statement give;
    give.kind = StatementKind::give;
    give.range = range(c->expr());
    give.values.push_back(expr(c->expr()));
    f.body.push_back(std::move(give));
    return f;
  }

  Type type(P::TypeContext* c) {
    Type t;
    t.range = range(c);
    t.tensor = c->LBRACK() != nullptr;
    if (c->word() != nullptr) {
      const Name word = name(c->word());
      if (word.text == "int") t.kind = TypeKind::integer;
      else if (word.text == "loss" && !t.tensor) t.kind = TypeKind::loss;
      else if (word.text != "real") {
        const std::string near = nearest(word.text, {"int", "real", "loss"});
        error(Code::unknown_type, word.range, "`" + text(t.range) + "` is no type", near.empty() || word.text == near ? "" : "did you mean `" + near + "`?",
              word.text == "loss" ? "`loss` is a scalar: write it without brackets" : "types are `[batch, seq, width]`, `int[batch, seq]`, `[..., width]`, `int`, `real` and `loss`");
      }
    }
    for (P::TypeAxisContext* axis : c->typeAxis()) {
      if (axis->word() != nullptr) t.axes.push_back(name(axis->word()));
      else if (t.others) error(Code::name_repeated, range(axis), "`...` is given twice in this type", "", "remove one of the two");
      else t.others = t.axes.size();
    }
    check_once(t.axes, "this type");
    return t;
  }

  Param param(P::ParamItemContext* c) {
    Param p{name(c->word(0)), type(c->type()), expr(c->expr()), std::nullopt, item(c)};
    if (c->word().size() == 2) p.decay = name(c->word(1));
    return p;
  }

  Sub sub(P::SubItemContext* c) {
    Sub s{name(c->word(0)), std::nullopt, call(c->call(), c->call()->path(), c->call()->arguments()), item(c)};
    if (c->word().size() == 2) s.array = name(c->word(1));
    return s;
  }

  Forward forward(P::ForwardItemContext* c) {
    Forward f;
    f.range = item(c);
    f.signature = range(c->getStart(), c->results()->getStop());
    std::vector<Name> given;
    for (P::InputContext* input : c->input()) {
      f.inputs.push_back({name(input->word()), type(input->type()), range(input)});
      given.push_back(f.inputs.back().name);
    }
    check_once(given, "the inputs of `forward`");
    for (P::TypeContext* result : c->results()->type()) f.results.push_back(type(result));
    f.body = body(c->body());
    return f;
  }

  Module module(P::ModuleDeclContext* c) {
    using Kind = Module::ItemKind;
    Module m;
    m.range = range(c);
    m.name = name(c->word());
    m.formals = formals(c->formals(), true, m.name.text);
    for (P::ModuleItemContext* i : c->moduleItem()) {
      if (auto* p = i->paramItem()) {
        m.items.push_back({Kind::param, m.params.size()});
        m.params.push_back(param(p));
      } else if (auto* a = i->axisItem()) {
        m.items.push_back({Kind::axis, m.axes.size()});
        m.axes.push_back({name(a->word()), expr(a->expr()), item(a)});
      } else if (auto* p = i->productItem()) {
        m.items.push_back({Kind::product, m.products.size()});
        std::vector<Name> all = names(p->word());
        check_once(all, "this `product`");
        m.products.push_back({all[0], {all.begin() + 1, all.end()}, item(p)});
      } else if (auto* s = i->subItem()) {
        m.items.push_back({Kind::sub, m.subs.size()});
        m.subs.push_back(sub(s));
      } else if (auto* r = i->requireItem()) {
        m.items.push_back({Kind::require, m.requirements.size()});
        Expr condition = two(ExprKind::compare, r->comparison()->getText(), sum(r->sum(0)), sum(r->sum(1)));
        m.requirements.push_back({std::move(condition), item(r)});
      } else if (auto* f = i->forwardItem()) {
        m.items.push_back({Kind::forward, m.forwards.size()});
        m.forwards.push_back(forward(f));
      } else {
        m.items.push_back({Kind::exported, m.exports.size()});
        m.exports.push_back(exported(i->exportItem()));
      }
    }
    return m;
  }

  // ---- export

  void bad_stored_name(SourceRange r, const std::string& message) {
    error(Code::stored_name, r, message, "", "the braces hold an index: \"h.{i}.weight\", \"h.{2 * i + 1}.weight\"");
  }

  StoredName stored_name(antlr4::tree::TerminalNode* node) {
    StoredName s;
    s.range = range(node);
    const std::string quoted = text(s.range);
    s.text = unescaped(quoted);
    std::string literal;
    for (std::size_t i = 1; i + 1 < quoted.size(); ++i) {
      const auto at = s.range.begin + static_cast<std::uint32_t>(i);
      if (quoted[i] == '}') {
        bad_stored_name({in_.file, at, at + 1}, "this `}` of a stored name closes nothing");
        return s;
      }
      if (quoted[i] != '{') {
        if (quoted[i] == '\\') ++i;
        literal += quoted[i];
        continue;
      }
      const std::size_t close = quoted.find_first_of("{}", i + 1);
      if (close == std::string::npos || quoted[close] == '{') {
        bad_stored_name({in_.file, at, at + 1}, "this `{` of a stored name is not closed");
        return s;
      }
      const auto end = s.range.begin + static_cast<std::uint32_t>(close);
      std::optional<Expr> index = in_.parse_index(at + 1, end);
      if (!index) {
        bad_stored_name({in_.file, at, end + 1}, "`" + quoted.substr(i, close - i + 1) + "` is no index of a stored name");
        return s;
      }
      if (!literal.empty()) s.parts.push_back({std::exchange(literal, ""), std::nullopt});
      s.parts.push_back({"", std::move(index)});
      i = close;
    }
    if (!literal.empty()) s.parts.push_back({literal, std::nullopt});
    return s;
  }

  Export exported(P::ExportItemContext* c) {
    Export e;
    e.range = item(c);
    e.format = name(c->word());
    for (P::ExportPartContext* part : c->exportPart()) {
      const SourceRange r = item(part);
      if (auto* a = part->architecturePart()) {
        e.architectures.push_back(string(a->STRING()));
      } else if (auto* config = part->configPart()) {
        Config made{config->K_WRITTEN() != nullptr, {}, r};
        for (P::ConfigEntryContext* entry : config->configEntry()) {
          std::vector<Name> keys = names(entry->configKey());
          for (std::size_t i = 0; i < keys.size(); ++i) keys[i].text = entry->configKey(i)->getText();
          made.entries.push_back({keys[0], {keys.begin() + 1, keys.end()}, expr(entry->expr()), range(entry)});
        }
        check_once(made.entries, "this `config`");
        e.configs.push_back(std::move(made));
      } else if (auto* ignored = part->ignorePart()) {
        for (auto* node : ignored->STRING()) e.ignored.push_back(stored_name(node));
      } else {
        P::ExportLineContext* line = part->exportLine();
        ExportLine made{{}, argument_value(line->argumentValue()), r};
        for (auto* node : line->STRING()) made.names.push_back(stored_name(node));
        e.lines.push_back(std::move(made));
      }
    }
    return e;
  }

  // ---- data, train, layouts

  Entry entry(P::EntryContext* c) { return {name(c->word()), {}, expr(c->expr()), item(c)}; }

  Train train(P::TrainDeclContext* c) {
    Train t;
    t.range = range(c);
    for (P::TrainItemContext* i : c->trainItem()) {
      if (auto* checkpoint = i->checkpointItem()) {
        Checkpoint made{expr(checkpoint->expr(0)), std::nullopt, std::nullopt, item(checkpoint)};
        if (checkpoint->STRING() != nullptr) made.to = string(checkpoint->STRING());
        if (checkpoint->K_KEEP() != nullptr) made.keep = expr(checkpoint->expr(1));
        t.checkpoints.push_back(std::move(made));
      } else if (auto* evaluate = i->evaluateItem()) {
        t.evaluates.push_back({expr(evaluate->expr(0)), expr(evaluate->expr(1)), item(evaluate)});
      } else {
        t.entries.push_back(entry(i->entry()));
      }
    }
    check_once(t.entries, "`train`");
    return t;
  }

  std::vector<Expr> paths(const std::vector<P::PathContext*>& contexts) {
    std::vector<Expr> list;
    for (P::PathContext* c : contexts) list.push_back(path(c));
    return list;
  }

  Rule rule(P::LayoutRuleContext* c) {
    Rule r;
    r.range = item(c);
    r.word = range(c->getStart(), c->getStart());
    if (auto* mesh = c->meshRule()) {
      r.kind = RuleKind::mesh;
      for (P::MeshEntryContext* e : mesh->meshEntry()) r.mesh.push_back({name(e->word()), {}, expr(e->expr()), range(e)});
      check_once(r.mesh, "this `mesh`");
    } else if (auto* split = c->splitRule()) {
      r.kind = RuleKind::split;
      r.axes = paths(split->path());
      r.over = names(split->over()->word());
      r.elsewhere = split->K_ELSEWHERE() != nullptr;
      r.options = object(split->object());
    } else if (auto* zero = c->zeroRule()) {
      r.kind = RuleKind::zero;
      r.values.push_back(expr(zero->expr()));
      r.over = names(zero->over()->word());
      r.options = object(zero->object());
    } else if (auto* micro_batch = c->microBatchRule()) {
      r.kind = RuleKind::micro_batch;
      r.values.push_back(expr(micro_batch->expr()));
    } else if (auto* offload = c->offloadRule()) {
      r.kind = RuleKind::offload;
      r.subject = name(offload->word());
      r.values.push_back(expr(offload->expr()));
    } else if (auto* recompute = c->recomputeRule()) {
      r.kind = RuleKind::recompute;
      for (P::ExprContext* value : recompute->expr()) r.values.push_back(expr(value));
    } else if (auto* wire = c->wireRule()) {
      r.kind = RuleKind::wire;
      r.values.push_back(expr(wire->expr()));
    } else if (auto* overlap = c->overlapRule()) {
      r.kind = RuleKind::overlap;
      r.values.push_back(expr(overlap->expr()));
    } else {
      drop(c->dropRule(), r);
    }
    check_once(r.over, "this rule");
    return r;
  }

  void drop(P::DropRuleContext* c, Rule& r) {
    r.kind = RuleKind::drop;
    if (c->K_SPLIT() != nullptr) {
      r.dropped = RuleKind::split;
      r.axes = paths(c->path());
    } else if (c->K_ZERO() != nullptr) {
      r.dropped = RuleKind::zero;
      r.over = names(c->over()->word());
    } else if (c->K_OFFLOAD() != nullptr) {
      r.dropped = RuleKind::offload;
      r.subject = name(c->word());
    } else {
      r.dropped = RuleKind::recompute;
    }
  }

  Layout layout(P::LayoutDeclContext* c) {
    Layout l{name(c->word(0)), std::nullopt, {}, range(c)};
    if (c->word().size() == 2) l.base = name(c->word(1));
    for (P::LayoutRuleContext* r : c->layoutRule()) l.rules.push_back(rule(r));
    return l;
  }

  // ---- the file

  Use use(P::UseDeclContext* c) {
    Use u;
    u.range = range(c);
    if (c->STRING() != nullptr) {
      u.target = range(c->STRING());
      u.path = unescaped(text(u.target));
    } else {
      u.target = range(c->dotted());
      u.library = c->dotted()->getText();
    }
    u.alias = name_if(c->word());
    return u;
  }

  File file(P::FileContext* c) {
    File f;
    f.id = in_.file;
    for (P::DeclarationContext* d : c->declaration()) {
      item(d);
      if (d->useDecl() != nullptr) f.uses.push_back(use(d->useDecl()));
      else if (d->functionDecl() != nullptr) f.functions.push_back(function(d->functionDecl()));
      else if (d->moduleDecl() != nullptr) f.modules.push_back(module(d->moduleDecl()));
      else if (d->trainDecl() != nullptr) f.trains.push_back(train(d->trainDecl()));
      else if (d->layoutDecl() != nullptr) f.layouts.push_back(layout(d->layoutDecl()));
      else {
        Data data;
        data.range = range(d);
        for (P::EntryContext* e : d->dataDecl()->entry()) data.entries.push_back(entry(e));
        check_once(data.entries, "`data`");
        f.datas.push_back(std::move(data));
      }
    }
    std::sort(item_begins.begin(), item_begins.end());
    return f;
  }
};

}  // namespace

File build_file(P::FileContext* tree, const BuildInput& input, std::vector<std::uint32_t>& item_begins) {
  Builder builder(input);
  File file = builder.file(tree);
  item_begins = std::move(builder.item_begins);
  return file;
}

}  // namespace dsc::syntax
