#include "compiler/plan/plan_limits.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "compiler/plan/operands.h"
#include "compiler/plan/plan_fields.h"

namespace dsc {
namespace {

using plan_fields::fields;

constexpr std::int64_t kMaxSize = std::int64_t(1) << 50;   // bytes, elements
constexpr std::int64_t kMaxPiece = std::int64_t(1) << 38;  // elements; times kMaxRanks and the largest type it fits 64 bits
constexpr std::int64_t kMaxRanks = std::int64_t(1) << 20;
constexpr std::int64_t kMaxSteps = std::int64_t(1) << 50;

// Visits everything once; keeps the first problem with its path.
struct Checker {
  static constexpr bool kConst = true;
  const Plan& plan;
  std::string problem;
  struct Place { const char* name; std::size_t index; };
  std::array<Place, 32> path{};  // deeper than a plan's types nest
  std::size_t depth = 0;

  void enter(const char* name, std::size_t index) {
    if (depth < path.size()) path[depth] = {name, index};
    ++depth;
  }
  void fail(const std::string& what) {
    if (!problem.empty()) return;
    std::string s;
    for (std::size_t i = 0; i < std::min(depth, path.size()); ++i) append_place(s, path[i].name, path[i].index);
    problem = s + " " + what;
  }
  void index(std::size_t i, std::size_t size, const char* what) {
    if (i >= size) fail(std::string("names ") + what + " " + std::to_string(i) + " of " + std::to_string(size));
  }

  void value(const AxisId& id) { index(id.index(), plan.contract.model.axes.size(), "axis"); }
  void value(const ParameterId& id) { index(id.index(), plan.contract.model.parameters.size(), "parameter"); }
  void value(const OpId& id) { index(id.index(), plan.contract.model.ops.size(), "operation"); }
  void value(const BufferId& id) { index(id.index(), plan.buffers.size(), "buffer"); }
  void value(const Bytes& bytes) {
    if (bytes.value < 0 || bytes.value > kMaxSize) fail("is " + std::to_string(bytes.value) + " bytes");
  }
  void value(const Elements& elements) {
    if (elements.value < 0) fail("is " + std::to_string(elements.value) + " elements");
  }
  void value(const SourceRange& r) {
    std::size_t files = plan.sources.size();
    if (r.file >= files && !(r.file == 0 && files == 0)) return fail("is in source file " + std::to_string(r.file) + " of " + std::to_string(files));
    if (r.begin > r.end || (files != 0 && r.end > plan.sources[r.file].text.size())) fail("is outside its source file");
  }
  void value(const KernelSpec& spec) {
    SpecOperands operands = operands_of(spec, plan.contract.train.optimizer.kind);
    if (!operands.problem.empty()) fail(std::string("is a ") + name_of(spec) + " with " + operands.problem);
    std::visit([&](const auto& s) { value(s); }, spec);
  }
  void value(const std::variant<KernelSpec, CollectiveSpec>& op) { std::visit([&](const auto& o) { value(o); }, op); }
  void value(const Program& program) {
    if (program.sections.size() > 64) fail("has more than 64 sections");
    walk(program);
  }
  void value(const Section& section) {
    if (section.iterations < 0 || section.iterations > kMaxSteps) fail("has " + std::to_string(section.iterations) + " iterations");
    if (section.first_micro_batch < 0 || section.first_micro_batch > kMaxSteps) fail("begins at micro-batch " + std::to_string(section.first_micro_batch));
    for (const Instruction& instruction : section.instructions)
      for (int wait : instruction.waits)
        if (wait < 0 || static_cast<std::size_t>(wait) >= section.instructions.size()) fail("has a wait for instruction " + std::to_string(wait));
    walk(section);
  }
  void value(const BufferUse& use) {
    if (use.rank_stride.value > (std::int64_t(1) << 40)) fail("has a rank stride of " + std::to_string(use.rank_stride.value) + " bytes");
    walk(use);
  }
  void value(const Buffer& buffer) {
    if (buffer.elements < 0 || buffer.elements > kMaxSize) fail("has " + std::to_string(buffer.elements) + " elements");
    if (buffer.segment < -1 || buffer.segment > 1 << 24) fail("is of segment " + std::to_string(buffer.segment));
    walk(buffer);
  }
  void value(const CollectivePart& part) {
    if (part.piece_elements < 0 || part.piece_elements > kMaxPiece) fail("has pieces of " + std::to_string(part.piece_elements) + " elements");
    walk(part);
  }
  void value(const CollectiveSpec& spec) {
    for (int axis : spec.mesh_axes) index(static_cast<std::size_t>(axis), plan.contract.layout.mesh.size(), "mesh axis");
    walk(spec);
  }
  void value(const LayoutSpec& layout) {
    std::int64_t world = 1;
    for (const MeshAxis& axis : layout.mesh) {
      if (axis.size < 1 || axis.size > kMaxRanks || (world *= axis.size) > kMaxRanks) return fail("has a mesh of more than 1,048,576 ranks or less than one");
    }
    std::set<int> seen;
    for (int axis : layout.batch_axes) {
      index(static_cast<std::size_t>(axis), layout.mesh.size(), "mesh axis");
      if (!seen.insert(axis).second) fail("splits batch over one mesh axis twice");
    }
    if (layout.zero_stage < 0 || layout.zero_stage > 3) fail("has ZeRO stage " + std::to_string(layout.zero_stage));
    if (layout.micro_batch < 1 || layout.micro_batch > kMaxRanks * 1024) fail("has a micro-batch of " + std::to_string(layout.micro_batch));
    walk(layout);
  }
  void value(const Target& target) {
    auto power = [](std::int64_t n) { return n >= 1 && n <= (std::int64_t(1) << 30) && (n & (n - 1)) == 0; };
    auto small = [](std::int64_t n) { return n >= 1 && n <= 1 << 20; };
    if (!power(target.alignment.value) || !power(target.page.value)) fail("has an alignment or page that is not a power of two");
    if (!small(target.lanes) || target.lanes > 256 || !small(target.tile_m) || !small(target.tile_n) || !small(target.block_k) || !small(target.vector))
      fail("has lanes, tiles or vectors out of range");
    walk(target);
  }
  void value(const TrainSpec& train) {
    for (std::int64_t n : {train.steps, train.batch, train.checkpoint_every, train.checkpoint_keep, train.evaluate_every, train.evaluate_batches,
                           train.optimizer.rate.warmup, train.loss_scale.window, train.loss_scale.hysteresis})
      if (n < 0 || n > kMaxSteps) fail("has a count of " + std::to_string(n));
    walk(train);
  }
  void value(const DataSpec& data) {
    if (data.sequence < 1 || data.sequence > (std::int64_t(1) << 32)) fail("has a sequence of " + std::to_string(data.sequence));
    if (data.validation_split && (data.validation_split->numerator < 1 || data.validation_split->denominator <= data.validation_split->numerator))
      fail("has a validation share that is not between 0 and 1");
    walk(data);
  }
  // Sizes of axes multiply without overflow: batch counts its full size here, more than any rank has.
  void extents(const std::vector<AxisId>& axes) {
    __int128 n = 1;
    for (AxisId axis : axes) {
      if (axis.index() >= plan.contract.model.axes.size()) return;
      if ((n *= plan.contract.model.axis(axis).size) > kMaxSize) return fail("has more than 2^50 elements");
    }
  }
  void value(const Axis& axis) {
    if (axis.size < 1 || axis.size > kMaxSize) fail("has size " + std::to_string(axis.size));
    walk(axis);
  }
  void value(const Parameter& parameter) { extents(parameter.axes); walk(parameter); }
  void value(const Op& op) {
    std::size_t self = static_cast<std::size_t>(&op - plan.contract.model.ops.data());
    for (OpId operand : op.operands)
      if (operand.index() >= self) fail("has operand " + operand.str() + ", which is not before it");
    static constexpr int kAny = -1;
    auto operands = [](OpKind kind) {
      if (kind <= OpKind::constant) return 0;
      switch (kind) {
        case OpKind::add: case OpKind::subtract: case OpKind::multiply: case OpKind::divide: case OpKind::power: case OpKind::maximum:
        case OpKind::minimum: case OpKind::less: case OpKind::less_equal: case OpKind::greater: case OpKind::greater_equal:
        case OpKind::equal: case OpKind::not_equal: case OpKind::concat: case OpKind::dot: case OpKind::lookup: case OpKind::cross_entropy: return 2;
        case OpKind::select: case OpKind::attend: return 3;
        case OpKind::expand: return kAny;
        default: return 1;
      }
    };
    int n = operands(op.kind);
    if (n != kAny && op.operands.size() != static_cast<std::size_t>(n)) fail("has " + std::to_string(op.operands.size()) + " operands");
    if (op.kind == OpKind::expand && op.operands.size() != 1) fail("has " + std::to_string(op.operands.size()) + " operands");
    if (op.kind == OpKind::parameter && !op.parameter) fail("names no parameter");
    if (op.scope < 0 || (op.scope != 0 && static_cast<std::size_t>(op.scope) >= plan.contract.model.scopes.size())) fail("is in scope " + std::to_string(op.scope));
    extents(op.axes);
    walk(op);
  }
  void value(const Model& model) {
    for (std::size_t i = 0; i < model.scopes.size(); ++i)
      if (model.scopes[i].parent < -1 || model.scopes[i].parent >= static_cast<int>(i)) fail("has scope " + std::to_string(i) + " inside a later one");
    if (model.axes.empty() || model.ops.empty()) fail("has no axes or no operations");
    walk(model);
  }
  void value(const ExportPiece& piece) {
    for (std::int64_t n : piece.shape)
      if (n < 0 || n > kMaxSize) fail("has a size of " + std::to_string(n));
    if (piece.parameter.index() < plan.contract.model.parameters.size()) {
      int axes = static_cast<int>(plan.contract.model.parameter(piece.parameter).axes.size());
      if (piece.indexed_axis < -1 || piece.indexed_axis >= axes) fail("indexes an axis that is not there");
      for (int axis : piece.permutation)
        if (axis < 0 || axis >= axes) fail("permutes an axis that is not there");
    }
    walk(piece);
  }

  template <class T>
  void value(const std::vector<T>& list) {
    for (std::size_t i = 0; i < list.size() && problem.empty(); ++i) {
      enter(nullptr, i);
      if constexpr (std::is_class_v<T>) value(list[i]);
      --depth;
    }
  }
  void value(const std::vector<bool>&) {}
  template <class T>
  void value(const std::optional<T>& o) { if (o) value(*o); }
  void value(const std::string&) {}
  void value(const std::pair<std::string, std::string>&) {}
  void value(double d) { if (!std::isfinite(d)) fail("is not finite"); }
  template <class T>
    requires(std::is_integral_v<T> || std::is_enum_v<T>)
  void value(T) {}
  template <class T>
    requires std::is_class_v<T>
  void value(const T& s) { walk(s); }
  template <class T>
  void walk(const T& s) { fields(*this, s); }
  template <class T>
  void operator()(const char* name, const T& field) {
    if (!problem.empty()) return;
    enter(name, 0);
    value(field);
    --depth;
  }
};

}  // namespace

void append_place(std::string& path, const char* name, std::size_t index) {
  if (name) {
    if (!path.empty()) path += '.';
    path += name;
  } else {
    path += '[';
    path += std::to_string(index);
    path += ']';
  }
}

std::string limits_problem(const Plan& plan) {
  Checker checker{plan, {}, {}};
  checker.value(plan);
  if (!checker.problem.empty()) return checker.problem;
  // Counts that later arithmetic multiplies.
  const Contract& c = plan.contract;
  if (c.train.batch < 1 || __int128(c.layout.data_ranks()) * c.layout.micro_batch > c.train.batch)
    return "contract.train.batch is less than one micro-batch on every data rank";
  if (plan.programs.size() > 16) return "programs has more than 16 entries";
  return "";
}

}  // namespace dsc
