#include "compiler/plan/operands.h"

#include <algorithm>

#include "compiler/support/state_block.h"

namespace dsc {
namespace {

using Wide = __int128;
constexpr std::int64_t kMaxIndex = std::int64_t(1) << 40;  // of any element, and of the indices of one operand's loop
constexpr std::int64_t kMaxWork = std::int64_t(1) << 54;   // of a contraction's whole loop nest
constexpr int kMaxRegisters = 1024;

struct Problem {
  std::string& text;
  bool bad() const { return !text.empty(); }
  void set(std::string what) { if (text.empty()) text = std::move(what); }
};

std::int64_t count(const std::vector<std::int64_t>& sizes, Problem problem, std::int64_t limit = kMaxIndex) {
  if (sizes.size() > max_dims) problem.set("more than " + std::to_string(max_dims) + " dims");
  Wide n = 1;
  for (std::int64_t size : sizes) {
    if (size < 1 || size > kMaxIndex) { problem.set("a size of " + std::to_string(size)); return 1; }
    n *= size;
    if (n > limit) { problem.set("sizes that overflow"); return 1; }
  }
  return static_cast<std::int64_t>(n);
}

// The hull of offset + sum of index * stride over lo <= index < hi per dim.
OperandExtent hull(const char* name, DType type, std::int64_t offset, const std::vector<std::int64_t>& lo,
                   const std::vector<std::int64_t>& hi, const std::vector<std::int64_t>& strides, Problem problem) {
  OperandExtent extent{.name = name, .type = type};
  Wide first = offset, last = offset, elements = 1;
  for (std::size_t d = 0; d < strides.size(); ++d) {
    if (strides[d] < 0 || strides[d] > kMaxIndex) problem.set(std::string(name) + " has a stride of " + std::to_string(strides[d]));
    if (problem.bad()) return extent;
    if (lo[d] >= hi[d]) return extent;
    first += Wide(lo[d]) * strides[d];
    last += Wide(hi[d] - 1) * strides[d];
    if (strides[d] != 0) elements *= hi[d] - lo[d];
    if (last > kMaxIndex || elements > kMaxIndex) { problem.set(std::string(name) + " reaches past any memory"); return extent; }
  }
  if (first < 0) { problem.set(std::string(name) + " begins before its buffer"); return extent; }
  extent.begin = static_cast<std::int64_t>(first);
  extent.end = static_cast<std::int64_t>(last) + 1;
  extent.dense = elements == extent.end - extent.begin;
  return extent;
}

OperandExtent strided(const char* name, DType type, std::int64_t offset, const std::vector<std::int64_t>& sizes,
                      const std::vector<std::int64_t>& strides, Problem problem) {
  if (sizes.size() != strides.size()) { problem.set(std::string(name) + " has " + std::to_string(strides.size()) + " strides for " +
                                                    std::to_string(sizes.size()) + " dims"); return {.name = name, .type = type}; }
  return hull(name, type, offset, std::vector<std::int64_t>(sizes.size(), 0), sizes, strides, problem);
}

OperandExtent whole(const char* name, DType type, const std::vector<std::int64_t>& sizes, Problem problem) {
  return {.name = name, .type = type, .begin = 0, .end = count(sizes, problem)};
}

OperandExtent map_input(const MapInput& input, const std::vector<std::int64_t>& sizes, Problem problem) {
  if (input.windows.empty()) return strided("an input", input.type, input.offset, sizes, input.strides, problem);
  if (input.windows.size() != sizes.size() || input.strides.size() != sizes.size()) {
    problem.set("an input whose windows or strides do not match the loop");
    return {};
  }
  std::vector<std::int64_t> lo, hi;
  for (std::size_t d = 0; d < sizes.size(); ++d) {
    lo.push_back(std::clamp<std::int64_t>(input.windows[d].lo, 0, sizes[d]));
    hi.push_back(std::clamp<std::int64_t>(input.windows[d].hi, 0, sizes[d]));
  }
  return hull("an input", input.type, input.offset, lo, hi, input.strides, problem);
}

void check_program(const MapProgram& program, std::size_t inputs, std::size_t outputs, std::size_t dims, bool epilogue, Problem problem) {
  if (program.registers < 0 || program.registers > kMaxRegisters) { problem.set("a program of " + std::to_string(program.registers) + " registers"); return; }
  const auto limit = static_cast<std::size_t>(epilogue ? max_epilogue_operands : max_operands);
  const auto positions = std::count_if(program.code.begin(), program.code.end(), [](const MapInstruction& in) { return in.op == MapOpcode::position; });
  if (inputs > limit || outputs > limit || static_cast<std::size_t>(positions) > limit)
    return problem.set("a program of more than " + std::to_string(limit) + " inputs, outputs or positions");
  std::vector<bool> written(program.registers, false), stored(outputs, false);
  for (const MapInstruction& code : program.code) {
    using O = MapOpcode;
    if (code.per_row) return problem.set("a constant that the lowering has not divided by the rows");
    int reads = 0;
    switch (code.op) {
      case O::load: case O::constant: case O::position: reads = 0; break;
      case O::add: case O::subtract: case O::multiply: case O::divide: case O::power: case O::maximum: case O::minimum:
      case O::less: case O::less_equal: case O::greater: case O::greater_equal: case O::equal: case O::not_equal: reads = 2; break;
      case O::select: reads = 3; break;
      default: reads = 1;
    }
    const int registers[] = {code.a, code.b, code.c};
    for (int i = reads; i < 3; ++i)
      if (registers[i] != -1) return problem.set("an instruction that names register " + std::to_string(registers[i]) + " and does not read it");
    for (int i = 0; i < reads; ++i)
      if (registers[i] < 0 || registers[i] >= program.registers || !written[registers[i]])
        return problem.set("a program that reads register " + std::to_string(registers[i]) + " before it is written");
    bool stores = code.op == O::store || code.op == O::reduce_sum || code.op == O::reduce_max;
    std::size_t slots = stores ? outputs : code.op == O::position ? dims : inputs;
    if (stores || code.op == O::load || code.op == O::position) {
      if (code.slot < 0 || static_cast<std::size_t>(code.slot) >= slots) return problem.set("a program that uses slot " + std::to_string(code.slot));
    }
    if (epilogue && (code.op == O::inner_sum || code.op == O::inner_max || code.op == O::reduce_sum || code.op == O::reduce_max))
      return problem.set("an epilogue that reduces");
    if (stores) {
      if (stored[code.slot]) return problem.set("a program that stores slot " + std::to_string(code.slot) + " twice");
      stored[code.slot] = true;
      if (code.result != -1) return problem.set("a store with a result");
    } else {
      if (code.result < 0 || code.result >= program.registers || written[code.result])
        return problem.set("a program that writes register " + std::to_string(code.result) + " twice or outside its registers");
      written[code.result] = true;
    }
  }
  for (bool s : stored)
    if (!s) return problem.set("an output that nothing stores");
}

OperandExtent map_output(const MapOutput& output, const std::vector<std::int64_t>& sizes, Problem problem) {
  OperandExtent extent = strided("an output", output.type, output.offset, sizes, output.strides, problem);
  extent.reads = output.accumulate;
  if (output.accumulate && output.type != DType::f32) problem.set("an accumulated output that is not f32");
  return extent;
}

struct Builder {
  OptimizerKind optimizer;
  SpecOperands out;
  Problem problem() { return {out.problem}; }

  void operator()(const MapSpec& s) {
    std::vector<std::int64_t> sizes = s.outer;
    sizes.insert(sizes.end(), s.inner.begin(), s.inner.end());
    count(sizes, problem());
    if (s.reduced.size() != s.outer.size()) problem().set("a map with " + std::to_string(s.reduced.size()) + " flags for " + std::to_string(s.outer.size()) + " outer dims");
    if (problem().bad()) return;
    for (const MapInput& input : s.inputs) out.inputs.push_back(map_input(input, sizes, problem()));
    for (const MapOutput& output : s.outputs) out.outputs.push_back(map_output(output, sizes, problem()));
    check_program(s.program, s.inputs.size(), s.outputs.size(), sizes.size(), false, problem());
  }

  void operator()(const ProductSpec& s) {
    std::vector<std::int64_t> sizes, a_sizes, a_strides, b_sizes, b_strides;
    for (const ProductDim& dim : s.batch) {
      sizes.push_back(dim.size);
      a_strides.push_back(dim.a_stride);
      b_strides.push_back(dim.b_stride);
    }
    a_sizes = b_sizes = sizes;
    a_sizes.insert(a_sizes.end(), {s.m, s.k});
    a_strides.insert(a_strides.end(), {s.a_m, s.a_k});
    b_sizes.insert(b_sizes.end(), {s.k, s.n});
    b_strides.insert(b_strides.end(), {s.b_k, s.b_n});
    sizes.insert(sizes.end(), {s.m, s.n});
    std::vector<std::int64_t> all = sizes;
    all.push_back(s.k);
    count(sizes, problem());
    count(all, problem(), kMaxWork);
    count(a_sizes, problem());
    count(b_sizes, problem());
    if (s.inputs.empty()) problem().set("a product without the tile's input slot");
    if (problem().bad()) return;
    out.inputs.push_back(strided("the left operand", s.a_type, s.a_offset, a_sizes, a_strides, problem()));
    out.inputs.push_back(strided("the right operand", s.b_type, s.b_offset, b_sizes, b_strides, problem()));
    for (std::size_t i = 1; i < s.inputs.size(); ++i) out.inputs.push_back(map_input(s.inputs[i], sizes, problem()));
    for (const MapOutput& output : s.outputs) out.outputs.push_back(map_output(output, sizes, problem()));
    check_program(s.epilogue, s.inputs.size(), s.outputs.size(), sizes.size(), true, problem());
  }

  struct Attend { OperandExtent q, k, v, out, statistics; std::int64_t q_count = 0, k_count = 0, v_count = 0; };
  Attend attend(const AttendSpec& s) {
    std::vector<std::int64_t> sizes, key_sizes, qs, ks, vs, os;
    for (const AttendDim& dim : s.batch) {
      sizes.push_back(dim.size);
      qs.push_back(dim.q_stride);
      ks.push_back(dim.k_stride);
      vs.push_back(dim.v_stride);
      os.push_back(dim.out_stride);
      if (!dim.shared) key_sizes.push_back(dim.size);
      if (dim.shared && (dim.k_stride != 0 || dim.v_stride != 0)) problem().set("a shared dim along which the keys vary");
    }
    auto all = sizes;
    all.insert(all.end(), {s.length, s.qk_size});
    Attend a;
    a.q_count = count(all, problem());
    all.back() = s.v_size;
    count(all, problem());
    auto with = [](std::vector<std::int64_t> v, std::int64_t x, std::int64_t y) { v.insert(v.end(), {x, y}); return v; };
    a.k_count = count(with(key_sizes, s.length, s.qk_size), problem());
    a.v_count = count(with(key_sizes, s.length, s.v_size), problem());
    if (s.mask == Mask::window && s.window < 1) problem().set("a window of " + std::to_string(s.window));
    if (problem().bad()) return a;
    a.q = strided("q", s.type, s.q_offset, with(sizes, s.length, s.qk_size), with(qs, s.q_along, s.q_channel), problem());
    a.k = strided("k", s.type, s.k_offset, with(sizes, s.length, s.qk_size), with(ks, s.k_along, s.k_channel), problem());
    a.v = strided("v", s.type, s.v_offset, with(sizes, s.length, s.v_size), with(vs, s.v_along, s.v_channel), problem());
    a.out = strided("out", s.out_type, 0, with(sizes, s.length, s.v_size), with(os, s.out_along, s.out_channel), problem());
    auto rows = sizes;
    rows.push_back(s.length);
    a.statistics = whole("statistics", DType::f32, rows, problem());
    return a;
  }
  void operator()(const AttendForwardSpec& s) {
    Attend a = attend(s.attend);
    out.inputs = {a.q, a.k, a.v};
    out.outputs = {a.out, a.statistics};
  }
  void operator()(const AttendBackwardSpec& s) {
    Attend a = attend(s.attend);
    OperandExtent dout = a.out;
    dout.name = "dout";
    out.inputs = {a.q, a.k, a.v, a.out, a.statistics, dout};
    out.outputs = {{.name = "dq", .type = s.gradient_type, .end = a.q_count}, {.name = "dk", .type = s.gradient_type, .end = a.k_count},
                   {.name = "dv", .type = s.gradient_type, .end = a.v_count}};
  }

  void operator()(const LookupSpec& s) {
    count({s.rows, s.width}, problem());
    count({s.entries, s.width}, problem());
    if (problem().bad()) return;
    out.inputs = {strided("the table", s.table_type, s.table_offset, {s.entries, s.width}, {s.entry_stride, s.element_stride}, problem()),
                  whole("ids", DType::i32, {s.rows}, problem())};
    out.outputs = {whole("out", s.out_type, {s.rows, s.width}, problem())};
  }
  void operator()(const LookupBackwardSpec& s) {
    count({s.entries, s.width}, problem());
    if (problem().bad()) return;
    out.inputs = {whole("dout", s.dout_type, {s.rows, s.width}, problem()), whole("ids", DType::i32, {s.rows}, problem())};
    out.outputs = {strided("dtable", DType::f32, 0, {s.entries, s.width}, {s.entry_stride, s.element_stride}, problem())};
    out.outputs[0].reads = s.accumulate;
  }
  void operator()(const CrossEntropySpec& s) {
    OperandExtent x = whole("x", s.x_type, {s.rows, s.entries}, problem());
    out.inputs = {x, whole("targets", DType::i32, {s.rows}, problem())};
    out.outputs = {{.name = "the loss", .end = 1}};
    if (!s.backward) return;
    out.inputs.push_back({.name = "the seed", .end = 1});
    x.name = "dx";
    x.type = s.dx_type;
    out.outputs.push_back(x);
  }
  void operator()(const ClassifierSpec& s) {
    count({s.rows, s.entries}, problem());
    count({s.rows, s.entries, s.width}, problem(), kMaxWork);
    if (s.rows_per_chunk < 1 || s.rows_per_chunk > s.rows) problem().set(std::to_string(s.rows_per_chunk) + " rows a chunk");
    if (problem().bad()) return;
    OperandExtent h = whole("h", s.h_type, {s.rows, s.width}, problem());
    OperandExtent w = strided("W", s.w_type, 0, {s.entries, s.width}, {s.entry_stride, s.element_stride}, problem());
    out.inputs = {h, w, whole("targets", DType::i32, {s.rows}, problem())};
    out.outputs = {{.name = "the loss", .end = 1}};
    if (!s.backward) return;
    out.inputs.push_back({.name = "the seed", .end = 1});
    h.name = "dh";
    h.type = s.dh_type;
    w.name = "dW";
    w.type = DType::f32;
    out.outputs.insert(out.outputs.end(), {h, w});
  }
  void operator()(const RotateSpec& s) {
    std::int64_t n = count(s.sizes, problem());
    int dims = static_cast<int>(s.sizes.size());
    if (s.along < 0 || s.along >= dims || s.pairs < 0 || s.pairs >= dims || s.along == s.pairs) problem().set("a rotation of dims that are not there");
    else if (s.sizes[s.pairs] % 2 != 0) problem().set("an odd number of channels in pairs");
    if (problem().bad()) return;
    out.inputs = {strided("x", s.x_type, s.x_offset, s.sizes, s.x_strides, problem())};
    out.outputs = {{.name = "out", .type = s.out_type, .end = n}};
  }
  void operator()(const ReadBatchSpec& s) {
    OperandExtent ids = whole("tokens", DType::i32, {s.rows, s.sequence}, problem());
    out.outputs = {ids, ids};
    out.outputs[1].name = "targets";
  }
  OperandExtent state() const {
    return {.name = "the state", .type = DType::u8, .end = sizeof(StateBlock), .reads = true, .state = true};
  }
  void operator()(const BeginStepSpec&) { out.outputs = {state()}; }
  void operator()(const SquareSumSpec& s) {
    out.inputs = {whole("the gradient", DType::f32, {s.pieces, s.elements}, problem())};
    if (s.column < 0 || s.column > kMaxIndex) problem().set("column " + std::to_string(s.column));
    if (s.table_stride < 0 || (s.pieces > 1 && s.table_stride == 0)) problem().set("a table stride of " + std::to_string(s.table_stride));
    if (problem().bad()) return;
    out.outputs = {strided("the table", DType::f64, s.column, {s.pieces}, {s.table_stride}, problem())};
  }
  void operator()(const AddLossSpec& s) {
    out.inputs = {{.name = "the loss", .end = 1}};
    out.outputs = {{.name = "the loss table", .type = DType::f64, .end = 1, .reads = !s.first}};
  }
  void operator()(const ControlSpec& s) {
    if (s.micro_batches < 1) problem().set(std::to_string(s.micro_batches) + " micro-batches");
    out.inputs = {whole("the norm table", DType::f64, {s.pieces, s.parameters}, problem()),
                  whole("the loss table", DType::f64, {s.ranks}, problem())};
    out.outputs = {state()};
  }
  void operator()(const UpdateSpec& s) {
    OperandExtent piece = whole("the gradient", DType::f32, {s.elements}, problem());
    out.inputs = {piece, state()};
    out.inputs[1].reads = false;
    piece.reads = true;
    piece.name = "the master";
    out.outputs = {piece};
    piece.name = "the moment";
    out.outputs.push_back(piece);
    if (optimizer == OptimizerKind::adamw) out.outputs.push_back(piece);
    if (s.used_type == DType::f32) return;
    out.outputs.push_back({.name = "the parameter as used", .type = s.used_type, .end = s.elements});
  }
};

}  // namespace

SpecOperands operands_of(const KernelSpec& spec, OptimizerKind optimizer) {
  Builder builder{optimizer, {}};
  std::visit(builder, spec);
  return std::move(builder.out);
}

}  // namespace dsc
