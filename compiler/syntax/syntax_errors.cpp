#include "compiler/syntax/syntax_errors.h"

#include <algorithm>

namespace dsc::syntax {
namespace {

using antlr4::ParserRuleContext;
using antlr4::Token;
using grammar::DsmParser;

constexpr int kMaxErrors = 20;

struct RuleText {
  std::size_t rule;
  const char* phrase;  // "expected `=` in a data entry"
  const char* form;    // how it is written
};

const RuleText kRules[] = {
    {DsmParser::RuleUseDecl, "a `use`", "write `use std.gpt2`, or `use \"my_model.dsm\" as mine`"},
    {DsmParser::RuleFunctionDecl, "a function", "write `function NAME(x, axis a, real eps) = EXPRESSION`, or a body in braces"},
    {DsmParser::RuleModuleDecl, "a module", "write `module NAME(axis width, real eps = 1e-5) { ... }`"},
    {DsmParser::RuleFormals, "the formals", "formals are `axis width`, `int n` or `real eps = 1e-5`, with commas between"},
    {DsmParser::RuleParamItem, "a `param`", "write `param weight: [width, hidden] = normal(0.02)`; an initialiser is needed"},
    {DsmParser::RuleAxisItem, "an `axis`", "write `axis head_dim = width / heads`"},
    {DsmParser::RuleProductItem, "a `product`", "write `product heads = kv_heads * group`"},
    {DsmParser::RuleSubItem, "a `sub`", "write `sub norm = layer_norm(width)`, or `sub block[layers] = ...` for one a layer"},
    {DsmParser::RuleRequireItem, "a `require`", "write `require seq <= context`"},
    {DsmParser::RuleForwardItem, "a `forward`", "write `forward(x: [batch, seq, width]) -> [batch, seq, width] { ... }`"},
    {DsmParser::RuleType, "a type", "types are `[batch, seq, width]`, `int[batch, seq]`, `[..., width]`, `int`, `real` and `loss`"},
    {DsmParser::RuleGiveStatement, "a `return`", "write `return x`, or `return x, y`"},
    {DsmParser::RuleRepeatStatement, "a `repeat`", "write `repeat block as b { x = b(x) }`"},
    {DsmParser::RuleAssignStatement, "an assignment", "write `x = f(y)`, or `x, a = f(y)` for several results"},
    {DsmParser::RuleExportItem, "an `export`", "write `export huggingface { \"stored.name\" = path }`"},
    {DsmParser::RuleArchitecturePart, "an `architecture`", "write `architecture \"GPT2LMHeadModel\"`"},
    {DsmParser::RuleConfigPart, "a `config`", "write `config { n_layer: layers, n_head: heads }`"},
    {DsmParser::RuleConfigEntry, "a `config`", "write `config { n_layer: layers, n_head: heads }`"},
    {DsmParser::RuleIgnorePart, "an `ignore`", "write `ignore \"h.{i}.attn.bias\"`"},
    {DsmParser::RuleExportLine, "an export line", "write `\"stored.name\" = path`, with `as [dims]` where the stored shape differs"},
    {DsmParser::RuleEntry, "an entry", "write `name = value`"},
    {DsmParser::RuleTrainItem, "an entry of `train`", "write `name = value`, `checkpoint every 500 to \"run/gpt2\" keep 3` or `evaluate every 250 batches 20`"},
    {DsmParser::RuleCheckpointItem, "a `checkpoint`", "write `checkpoint every 500 to \"run/gpt2\" keep 3`"},
    {DsmParser::RuleEvaluateItem, "an `evaluate`", "write `evaluate every 250 batches 20`"},
    {DsmParser::RuleLayoutDecl, "a layout", "write `layout NAME { ... }`, or `layout NAME = BASE { ... }`"},
    {DsmParser::RuleMeshRule, "a `mesh`", "write `mesh (pipe: 2, data: auto)`"},
    {DsmParser::RuleMeshEntry, "a `mesh`", "write `mesh (pipe: 2, data: auto)`"},
    {DsmParser::RuleSplitRule, "a `split`", "write `split heads, hidden over tensor`"},
    {DsmParser::RuleZeroRule, "a `zero`", "write `zero 3 over data { bucket: 32 MiB }`"},
    {DsmParser::RuleMicroBatchRule, "a `micro_batch`", "write `micro_batch 8`, or `micro_batch auto`"},
    {DsmParser::RuleOffloadRule, "an `offload`", "write `offload optimizer to cpu(pinned)`"},
    {DsmParser::RuleRecomputeRule, "a `recompute`", "write `recompute block[*].attn`, `recompute all`, `recompute none` or `recompute auto`"},
    {DsmParser::RuleWireRule, "a `wire`", "write `wire bf16`"},
    {DsmParser::RuleOverlapRule, "an `overlap`", "write `overlap off`"},
    {DsmParser::RuleDropRule, "a `drop`", "write `drop split AXIS`, `drop zero over MESH`, `drop offload CLASS` or `drop recompute`"},
    {DsmParser::RuleArguments, "the arguments", "arguments are `value`, then `name: value`, with commas between"},
    {DsmParser::RuleSubscript, "an index", "an index is `3`, `*`, `4..8`, `i` or `experts: e`"},
    {DsmParser::RuleGroup, "a group of axes", "write `(kv_heads group)`, without commas"},
    {DsmParser::RuleTuple, "the parentheses", "write `(a, b)`"},
    {DsmParser::RuleList, "a list", "write `[a, b]`"},
    {DsmParser::RuleObject, "the braces", "write `{ name: value, name: value }`"},
    {DsmParser::RuleObjectEntry, "the braces", "write `{ name: value, name: value }`"},
};

// Where items stand one after another, and what may begin one.
struct ItemLoop {
  std::size_t rule;
  const char* item;
  std::vector<std::string> words;  // empty: any name
};

const std::vector<ItemLoop>& item_loops() {
  static const std::vector<ItemLoop> loops = {
      {DsmParser::RuleFile, "a declaration", {"use", "function", "module", "data", "train", "layout"}},
      {DsmParser::RuleModuleDecl, "an item of a module", {"param", "axis", "product", "sub", "require", "forward", "export"}},
      {DsmParser::RuleBody, "a statement", {}},
      {DsmParser::RuleExportItem, "an item of an export", {"architecture", "config", "ignore"}},
      {DsmParser::RuleDataDecl, "an entry of `data`", {}},
      {DsmParser::RuleTrainDecl, "an entry of `train`", {}},
      {DsmParser::RuleLayoutDecl, "a rule of a layout",
       {"mesh", "split", "zero", "micro_batch", "offload", "recompute", "wire", "overlap", "drop"}},
  };
  return loops;
}

const ItemLoop* loop_of(const ParserRuleContext* context) {
  for (const ItemLoop& loop : item_loops())
    if (context != nullptr && loop.rule == context->getRuleIndex()) return &loop;
  return nullptr;
}

const RuleText* text_of(ParserRuleContext* context) {
  for (antlr4::tree::ParseTree* at = context; at != nullptr; at = at->parent)
    for (const RuleText& text : kRules)
      if (text.rule == static_cast<ParserRuleContext*>(at)->getRuleIndex()) return &text;
  return nullptr;
}

bool is_item(std::size_t rule) {
  switch (rule) {
    case DsmParser::RuleDeclaration: case DsmParser::RuleModuleItem: case DsmParser::RuleStatement:
    case DsmParser::RuleExportPart: case DsmParser::RuleEntry: case DsmParser::RuleTrainItem: case DsmParser::RuleLayoutRule:
      return true;
    default: return false;
  }
}

bool is_word(std::size_t type) {
  return type == DsmParser::ID || (type >= DsmParser::K_USE && type <= DsmParser::K_DROP);
}

bool continues_expression(std::size_t type) {
  switch (type) {
    case DsmParser::PLUS: case DsmParser::MINUS: case DsmParser::STAR: case DsmParser::SLASH: case DsmParser::CARET:
    case DsmParser::LESS: case DsmParser::LESS_EQUAL: case DsmParser::GREATER: case DsmParser::GREATER_EQUAL:
    case DsmParser::EQUAL: case DsmParser::NOT_EQUAL: case DsmParser::DOT: case DsmParser::LPAREN: case DsmParser::LBRACK:
    case DsmParser::UNIT: case DsmParser::RANGE: case DsmParser::ARROW:
      return true;
    default: return false;
  }
}

// A set of token types as the user would say it, the most telling first.
std::vector<std::string> say(const antlr4::misc::IntervalSet& set, antlr4::Parser* parser) {
  const bool value = set.contains(static_cast<ssize_t>(DsmParser::INT)) && set.contains(static_cast<ssize_t>(DsmParser::MINUS));
  const bool name = set.contains(static_cast<ssize_t>(DsmParser::ID));
  bool closing = false;
  for (ssize_t type : set.toList())
    if (type > 0 && !continues_expression(static_cast<std::size_t>(type)) && !is_word(static_cast<std::size_t>(type))) closing = true;
  std::vector<std::string> words;
  if (value) words.push_back("a value");
  else if (name) words.push_back("a name");
  for (ssize_t type : set.toList()) {
    const auto token = static_cast<std::size_t>(type);
    if (type < 0) {
      if (!value && !name) words.push_back("the end of the file");
      continue;
    }
    if (token == DsmParser::STRING) {
      if (!value) words.push_back("a string");
      continue;
    }
    if (token == DsmParser::INT || token == DsmParser::REAL || token == DsmParser::ID || (name && is_word(token))) continue;
    if (value && (token == DsmParser::LPAREN || token == DsmParser::LBRACK || token == DsmParser::LBRACE || token == DsmParser::MINUS)) continue;
    if (!value && closing && continues_expression(token)) continue;
    const std::string literal(parser->getVocabulary().getLiteralName(token));
    if (literal.size() > 2) words.push_back("`" + literal.substr(1, literal.size() - 2) + "`");
  }
  return words;
}

std::string join(const std::vector<std::string>& words, const char* last) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) text += (i == 0 ? "" : i + 1 == words.size() ? last : ", ") + words[i];
  return text;
}

}  // namespace

std::string ErrorStrategy::shown(Token* token) const {
  if (token->getType() == Token::EOF) return "the end of the file";
  std::string text(text_.substr(token->getStartIndex(), token->getStopIndex() + 1 - token->getStartIndex()));
  if (text.size() > 40) {
    text.resize(37);
    while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0x80) != 0) text.pop_back();
    text += "...";
  }
  return "`" + text + "`";
}

void ErrorStrategy::add(Code code, Token* found, std::string message, std::string label, std::string help) {
  if (++errors_ > kMaxErrors) return;
  SourceRange range{file_, static_cast<std::uint32_t>(found->getStartIndex()), static_cast<std::uint32_t>(found->getStopIndex() + 1)};
  if (found->getType() == Token::EOF) {
    const std::size_t last = text_.find_last_not_of(" \t\r\n");
    range.end = last == std::string_view::npos ? 0 : static_cast<std::uint32_t>(last + 1);
    range.begin = range.end == 0 ? 0 : range.end - 1;
  }
  diagnostics_.add({code, Severity::error, std::move(message), range, std::move(label), {}, std::move(help)});
}

void ErrorStrategy::report(antlr4::Parser* parser, Token* found, const std::vector<std::string>& expected) {
  const RuleText* rule = text_of(parser->getContext());
  const std::string where = rule != nullptr ? std::string(" in ") + rule->phrase : "";
  std::string help = rule != nullptr ? rule->form : "";
  const std::size_t in = rule != nullptr ? rule->rule : 0;
  if (found->getType() == DsmParser::ASSIGN && (in == DsmParser::RuleArguments || in == DsmParser::RuleMeshEntry ||
                                                in == DsmParser::RuleObjectEntry || in == DsmParser::RuleObject || in == DsmParser::RuleConfigEntry))
    help = "in parentheses and braces, write `name: value`";
  if (found->getType() == DsmParser::COLON && in == DsmParser::RuleEntry) help = "write `name = value`";
  if (expected.empty() || expected.size() > 6)
    add(Code::unexpected_token, found, shown(found) + " does not fit" + where, "not expected here", help);
  else
    add(Code::unexpected_token, found, "expected " + join(expected, " or ") + where + ", found " + shown(found), "", help);
}

void ErrorStrategy::report_item(antlr4::Parser* parser, Token* found) {
  const ItemLoop* loop = loop_of(parser->getContext());
  std::vector<std::string> begins;
  for (const std::string& word : loop->words) begins.push_back("`" + word + "`");
  if (loop->rule == DsmParser::RuleExportItem) begins.push_back("a stored name in quotes");
  std::string help = begins.empty() ? (loop->rule == DsmParser::RuleBody ? "statements are `x = EXPRESSION`, `repeat` and `return`" : "write `name = value`")
                                    : "it begins with " + join(begins, " or ");
  if (!is_word(found->getType()) || loop->words.empty())
    return add(Code::unexpected_token, found, std::string("expected ") + loop->item + ", found " + shown(found), "", help);
  const std::string word = found->getText(), near = nearest(word, loop->words);
  add(Code::unknown_keyword, found, "`" + word + "` does not begin " + loop->item, near.empty() ? "" : "did you mean `" + near + "`?", help);
}

void ErrorStrategy::reportNoViableAlternative(antlr4::Parser* parser, const antlr4::NoViableAltException& error) {
  Token* found = error.getOffendingToken();
  if (found == error.getStartToken()) {
    const auto& atn = parser->getATN();
    const auto state = static_cast<std::size_t>(error.getOffendingState());
    if (state < atn.states.size()) return report(parser, found, say(atn.nextTokens(atn.states[state]), parser));
  }
  const std::size_t rule = parser->getContext()->getRuleIndex();
  if (rule == DsmParser::RuleTrainItem)
    return report(parser, found, {error.getStartToken()->getText() == "checkpoint" || error.getStartToken()->getText() == "evaluate" ? "`every`" : "`=`"});
  report(parser, found, {});
}

void ErrorStrategy::reportInputMismatch(antlr4::Parser* parser, const antlr4::InputMismatchException& error) {
  report(parser, error.getOffendingToken(), say(error.getExpectedTokens(), parser));
}

// No repair of single tokens: what was meant is for the user to say.
Token* ErrorStrategy::recoverInline(antlr4::Parser* parser) { throw antlr4::InputMismatchException(parser); }

void ErrorStrategy::skip_to_item(antlr4::Parser* parser, std::size_t from, int depth) {
  while (true) {
    Token* token = parser->getCurrentToken();
    if (token->getType() == Token::EOF) return;
    const std::size_t index = token->getTokenIndex();
    if (index >= from) {
      const TokenPlace& place = places_[index];
      if (place.depth < depth) return;
      if (place.depth == depth && place.begins_line && (is_word(token->getType()) || token->getType() == DsmParser::STRING)) return;
    }
    parser->consume();
  }
}

void ErrorStrategy::recover(antlr4::Parser* parser, std::exception_ptr) {
  for (antlr4::tree::ParseTree* at = parser->getContext(); at != nullptr; at = at->parent) {
    auto* context = static_cast<ParserRuleContext*>(at);
    if (!is_item(context->getRuleIndex())) continue;
    const std::size_t start = context->getStart()->getTokenIndex();
    if (context->getStart()->getType() == Token::EOF) return;
    return skip_to_item(parser, start + 1, places_[start].depth);
  }
  while (parser->getCurrentToken()->getType() != Token::EOF) parser->consume();
}

void ErrorStrategy::sync(antlr4::Parser* parser) {
  const auto& atn = parser->getATN();
  antlr4::atn::ATNState* state = atn.states[parser->getState()];
  const auto viable = [&] {
    const antlr4::misc::IntervalSet next = atn.nextTokens(state);
    return next.contains(Token::EPSILON) || next.contains(static_cast<ssize_t>(parser->getInputStream()->LA(1)));
  };
  ParserRuleContext* context = parser->getContext();
  const ItemLoop* loop = loop_of(context);
  const bool in_items = loop != nullptr && (loop->rule == DsmParser::RuleFile || context->getToken(DsmParser::LBRACE, 0) != nullptr);
  if (!in_items && viable()) return;
  if (!in_items) {
    if (inErrorRecoveryMode(parser)) return;
    throw antlr4::InputMismatchException(parser);
  }
  while (!viable()) {
    Token* found = parser->getCurrentToken();
    if (found->getType() == Token::EOF) return;
    const TokenPlace& place = places_[found->getTokenIndex()];
    if (loop->rule != DsmParser::RuleFile && place.depth < places_[context->getStart()->getTokenIndex()].depth + 1) return;
    // Behind another error only a misspelled word at the start of a line is surely a mistake of its own.
    const bool misspelled = place.begins_line && is_word(found->getType()) && !nearest(found->getText(), loop->words).empty();
    if (!inErrorRecoveryMode(parser) || misspelled) {
      beginErrorCondition(parser);
      report_item(parser, found);
    }
    skip_to_item(parser, found->getTokenIndex() + 1, place.depth);
  }
  // An item that begins a line is parsed for itself, whatever stood before it.
  Token* next = parser->getCurrentToken();
  if (next->getType() != Token::EOF && places_[next->getTokenIndex()].begins_line) endErrorCondition(parser);
}

}  // namespace dsc::syntax
