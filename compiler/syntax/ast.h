// The syntax tree of one .dsm file: plain structs in source order, each with the range of the text it came from.
// Nothing here is resolved: names are text, sizes and defaults are expressions. The parser guarantees that every
// required child is present, that literals fit their types, and that nesting is at most kMaxNesting deep, so a stage
// may walk the tree recursively. How the text was laid out (tokens, comments) is kept apart, for `dsc fmt`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "compiler/support/source.h"

namespace dsc::syntax {

inline constexpr int kMaxNesting = 256;

struct Name {
  std::string text;
  SourceRange range;
};

enum class ExprKind {
  integer,    // 12            integer, number
  real,       // 1e-5          number
  string,     // "a"           text without quotes, escapes resolved
  quantity,   // 32 MiB        number in bytes, bytes/s or seconds; integer where it is whole; unit, quantity
  yes,        // true
  no,         // false
  null,       // null
  automatic,  // auto
  name,       // width         text; segments has the one
  path,       // block[3].wq   text as written without spaces; segments
  call,       // mine.m(x, over: a)   text is the dotted callee ("mine.m"), segments its parts, args the arguments
  unary,      // -x            text "-", children {x}
  binary,     // a + b         text one of + - * / ^, children {a, b}
  compare,    // a <= b        text one of < <= > >= == !=, children {a, b}
  tuple,      // (a, b)        children, two or more (one in parentheses is the expression itself, `parenthesized`)
  group,      // (heads dim)   children are names, two or more: axes merged, major first
  arrow,      // a -> b        children {from, to}, each a name, group or tuple
  list,       // [1, 2]        children, also axis lists `[width, (heads head_dim)]`
  object,     // { a: 1 }      entries
  shaped,     // E as [dims]   children {E, list}
};

enum class QuantityKind { bytes, rate, time };

struct Argument;
struct Segment;
struct Entry;

struct Expr {
  ExprKind kind = ExprKind::null;
  SourceRange range;
  std::string text;
  std::int64_t integer = 0;  // integer; quantity in bytes
  double number = 0;         // integer, real, quantity
  std::string unit;          // quantity: the unit as written ("MiB", "GB/s", "ms")
  QuantityKind quantity = QuantityKind::bytes;
  bool parenthesized = false;
  SourceRange callee;               // call: the range of the callee alone; else `range`
  std::vector<Expr> children;
  std::vector<Argument> args;       // call
  std::vector<Segment> segments;    // name, path, call
  std::vector<Entry> entries;       // object
};

// An argument of a call: positional first, then by name, as the parser has checked (each name once).
struct Argument {
  std::optional<Name> name;
  Expr value;
  SourceRange range;
};

enum class IndexKind {
  none,        // attn
  integer,     // block[3]             bounds {3}
  star,        // block[*]
  range,       // block[4..8]          bounds {4, 8}, half open
  expression,  // block[i], [2 * i + 1] bounds {expression}
  axis,        // gate[experts: e]     axis, bounds {e}
};

struct Segment {
  Name name;
  IndexKind index = IndexKind::none;
  std::optional<Name> axis;
  std::vector<Expr> bounds;
  SourceRange range;
};

// `key = value` in data and train, `key: value` in braces, `name: size` in a mesh. A config key may have alternatives
// (`rope_theta or rope_parameters.rope_theta: theta`): name is the first, its dots kept.
struct Entry {
  Name name;
  std::vector<Name> alternatives;
  Expr value;
  SourceRange range;
};

// ---- statements

enum class StatementKind { assign, repeat, give };

struct Statement {
  StatementKind kind = StatementKind::assign;
  SourceRange range;
  std::vector<Name> targets;   // assign: one or several; repeat: the names after `as`
  std::vector<Name> arrays;    // repeat: the arrays walked together, as many as targets
  std::vector<Expr> values;    // assign: one; give (`return`): one or several
  std::vector<Statement> body; // repeat
};

// ---- functions and modules

enum class FormalKind { tensor, axis, integer, real };

struct Formal {
  FormalKind kind = FormalKind::tensor;  // tensor (no word before the name) in functions alone
  Name name;
  std::optional<Expr> fallback;          // after `=`
  SourceRange range;
};

struct Function {
  Name name;
  std::vector<Formal> formals;
  std::vector<Statement> body;  // `= E` is one `return E`
  SourceRange range;
};

enum class TypeKind { real, integer, loss };

struct Type {
  TypeKind kind = TypeKind::real;
  bool tensor = false;                // has brackets; `int`, `real` and `loss` alone are scalars
  std::vector<Name> axes;             // in order, without the `...`
  std::optional<std::size_t> others;  // where `...` stands: before axes[*others]
  SourceRange range;
};

struct Param {
  Name name;
  Type type;
  Expr init;
  std::optional<Name> decay;  // the word after `decay`
  SourceRange range;
};

struct AxisItem {
  Name name;
  Expr size;
  SourceRange range;
};

struct Product {
  Name whole;
  std::vector<Name> factors;  // two or more, major first
  SourceRange range;
};

struct Sub {
  Name name;
  std::optional<Name> array;  // the axis in brackets
  Expr module;                // always a call
  SourceRange range;
};

struct Require {
  Expr condition;  // always a comparison
  SourceRange range;
};

struct Input {
  Name name;
  Type type;
  SourceRange range;
};

struct Forward {
  std::vector<Input> inputs;
  std::vector<Type> results;  // one or several
  std::vector<Statement> body;
  SourceRange range;      // all of it
  SourceRange signature;  // `forward` to the last result
};

// "h.{2 * i + 1}.weight" is the parts "h.", {2 * i + 1}, ".weight".
struct NamePart {
  std::string text;           // literal text where `index` is absent
  std::optional<Expr> index;
};

struct StoredName {
  std::string text;  // the whole string without quotes
  std::vector<NamePart> parts;
  SourceRange range;
};

struct ExportLine {
  std::vector<StoredName> names;  // the first is written, all are read
  Expr value;                     // a path, a concat call, or one of them shaped
  SourceRange range;
};

struct Config {
  bool written = false;  // `config written`: written and not compared
  std::vector<Entry> entries;
  SourceRange range;
};

struct Export {
  Name format;  // huggingface
  std::vector<Expr> architectures;  // strings; the checker wants one
  std::vector<Config> configs;
  std::vector<StoredName> ignored;
  std::vector<ExportLine> lines;
  SourceRange range;
};

struct Module {
  Name name;
  std::vector<Formal> formals;
  std::vector<Param> params;
  std::vector<AxisItem> axes;
  std::vector<Product> products;
  std::vector<Sub> subs;
  std::vector<Require> requirements;
  std::vector<Forward> forwards;  // the checker wants one
  std::vector<Export> exports;
  // The order of all items in the file, since an axis may use earlier ones: (kind, index in its vector).
  enum class ItemKind { param, axis, product, sub, require, forward, exported };
  struct Item {
    ItemKind kind;
    std::size_t index;
  };
  std::vector<Item> items;
  SourceRange range;
};

// ---- use, data, train

struct Use {
  std::string path;     // of `use "my_model.dsm"`; else empty
  std::string library;  // of `use std.gpt2`: "std.gpt2"; else empty
  std::optional<Name> alias;
  SourceRange range;
  SourceRange target;  // the path or the dotted name
};

struct Data {
  std::vector<Entry> entries;
  SourceRange range;
};

struct Checkpoint {  // checkpoint every 500 to "run/gpt2" keep 3
  Expr every;
  std::optional<Expr> to;  // a string
  std::optional<Expr> keep;
  SourceRange range;
};

struct Evaluate {  // evaluate every 250 batches 20
  Expr every;
  Expr batches;
  SourceRange range;
};

struct Train {
  std::vector<Entry> entries;
  std::vector<Checkpoint> checkpoints;  // the checker wants at most one of each
  std::vector<Evaluate> evaluates;
  SourceRange range;
};

// ---- layouts

enum class RuleKind { mesh, split, zero, micro_batch, offload, recompute, wire, overlap, drop };

struct Rule {
  RuleKind kind = RuleKind::mesh;
  SourceRange range;
  SourceRange word;             // the keyword that begins it
  std::vector<Entry> mesh;      // mesh: name and size or `auto`
  std::vector<Expr> axes;       // split, drop split: names or paths of model axes
  std::vector<Name> over;       // split, zero, drop zero: mesh axes, slowest first
  bool elsewhere = false;       // split
  std::vector<Entry> options;   // split, zero: in the braces
  std::optional<Name> subject;  // offload, drop offload: the class (optimizer, grads, params, activations)
  std::vector<Expr> values;     // zero: the stage; micro_batch, wire, overlap, offload (after `to`): one; recompute: 1+
  RuleKind dropped = RuleKind::split;  // drop: split, zero, offload or recompute
};

struct Layout {
  Name name;
  std::optional<Name> base;  // of a derived layout
  std::vector<Rule> rules;
  SourceRange range;
};

// ---- the file

struct Comment {
  std::string text;  // with its `//`, without the newline
  SourceRange range;
  bool own_line = false;  // else it trails code on its line
};

struct Token {
  SourceRange range;
  int depth = 0;          // brackets open around it
  bool begins_item = false;  // a declaration, statement, entry or rule starts here
};

struct File {
  std::uint32_t id = 0;  // in the SourceMap
  std::vector<Use> uses;
  std::vector<Function> functions;
  std::vector<Module> modules;
  std::vector<Data> datas;    // the checker wants at most one of each
  std::vector<Train> trains;
  std::vector<Layout> layouts;
  std::vector<Comment> comments;
  std::vector<Token> tokens;
};

}  // namespace dsc::syntax
