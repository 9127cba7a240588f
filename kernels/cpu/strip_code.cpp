// From steps of a program to steps of a strip.
#include <algorithm>

#include "kernels/cpu/strips.h"

namespace dsc::cpu {
namespace {

std::optional<StripOp> strip_op(const MapStep& step) {
  switch (step.op) {
    case MapOpcode::load: return StripOp::take;
    case MapOpcode::add: return StripOp::add;
    case MapOpcode::subtract: return StripOp::subtract;
    case MapOpcode::multiply: return StripOp::multiply;
    case MapOpcode::divide: return StripOp::divide;
    case MapOpcode::maximum: return StripOp::maximum;
    case MapOpcode::minimum: return StripOp::minimum;
    case MapOpcode::negate: return StripOp::negate;
    case MapOpcode::absolute: return StripOp::absolute;
    case MapOpcode::sqrt: return StripOp::sqrt;
    case MapOpcode::rsqrt: return StripOp::rsqrt;
    case MapOpcode::exp: return StripOp::exp;
    case MapOpcode::log: return StripOp::log;
    case MapOpcode::tanh: return StripOp::tanh;
    case MapOpcode::erf: return StripOp::erf;
    case MapOpcode::sigmoid: return StripOp::sigmoid;
    case MapOpcode::round:
      if (step.type == DType::bf16) return StripOp::round_bf16;
      return std::nullopt;
    case MapOpcode::store: return step.accumulate ? StripOp::add_into : StripOp::store;
    case MapOpcode::reduce_sum: return StripOp::add_into;
    default: return std::nullopt;
  }
}

bool is_binary(StripOp op) { return op >= StripOp::add && op <= StripOp::minimum; }

class Coder {
 public:
  Coder(const std::vector<MapStep>& steps, std::size_t first, std::size_t end) : steps_(steps), first_(first), end_(end) {}

  std::optional<StripCode> code() {
    // Twice: the first time finds which values have to be kept in memory.
    for (const bool final : {false, true}) {
      out_ = {};
      final_ = final, held_ = -1;
      for (std::size_t i = first_; i < end_; ++i) step(i);
    }
    if (out_.operands.size() > max_strip_operands) return std::nullopt;
    return std::move(out_);
  }

 private:
  bool reads(const MapStep& step, int name) const { return step.a.name == name || step.b.name == name || step.c.name == name; }

  // Where a register is a load whose every reader is among these steps and reads before anything is stored: its step, which is then
  // no step of its own.
  const MapStep* read_in_place(int name) const {
    for (std::size_t i = first_; i < end_; ++i) {
      if (steps_[i].op != MapOpcode::load || steps_[i].result != name) continue;
      bool stored = false;
      for (std::size_t j = i + 1; j < steps_.size(); ++j) {
        if (reads(steps_[j], name) && (stored || j >= end_)) return nullptr;
        stored |= steps_[j].op == MapOpcode::store;
      }
      return &steps_[i];
    }
    return nullptr;
  }

  int operand(StripOperand::Kind kind, int index, DType type = DType::f32, float number = 0) {
    for (std::size_t i = 0; i < out_.operands.size(); ++i) {
      const StripOperand& o = out_.operands[i];
      if (o.kind == kind && o.index == index && o.type == type) return static_cast<int>(i);
    }
    out_.operands.push_back({kind, index, type, number});
    return static_cast<int>(out_.operands.size()) - 1;
  }

  // Where the value of a register is kept: beside the strip where no other part of the program reads it.
  int memory_of(int name, int place) {
    for (std::size_t i = end_; i < steps_.size(); ++i)
      if (reads(steps_[i], name)) return operand(StripOperand::Kind::full, place);
    auto at = std::find(locals_.begin(), locals_.end(), name);
    if (at == locals_.end()) {
      if (locals_.size() == max_strip_locals) return operand(StripOperand::Kind::full, place);
      at = locals_.insert(locals_.end(), name);
    }
    return operand(StripOperand::Kind::local, static_cast<int>(at - locals_.begin()));
  }

  void emit(StripOp op, const MapOperand& y) {
    StripStep step;
    step.op = op;
    if (y.kind == RegisterKind::constant) {
      step.source = StripSource::spread, step.operand = operand(StripOperand::Kind::constant, y.place, DType::f32, y.number);
    } else if (y.kind == RegisterKind::row) {
      step.source = StripSource::spread, step.operand = operand(StripOperand::Kind::row, y.place);
    } else if (y.name == held_) {
      step.source = StripSource::self;
    } else if (const MapStep* load = read_in_place(y.name)) {
      step.source = load->type == DType::bf16 ? StripSource::bf16 : StripSource::f32;
      step.operand = operand(StripOperand::Kind::input, load->slot, load->type);
    } else {
      const bool ours = std::any_of(steps_.begin() + static_cast<std::ptrdiff_t>(first_), steps_.begin() + static_cast<std::ptrdiff_t>(end_),
                                    [&](const MapStep& s) { return s.result == y.name; });
      if (ours && !is_kept(y.name)) kept_.push_back(y.name);
      step.source = StripSource::f32;
      step.operand = ours ? memory_of(y.name, y.place) : operand(StripOperand::Kind::full, y.place);
    }
    out_.steps.push_back(step);
  }
  void take(const MapOperand& y) {
    if (y.kind != RegisterKind::full || y.name != held_) emit(StripOp::take, y);
  }
  bool is_kept(int name) const { return std::find(kept_.begin(), kept_.end(), name) != kept_.end(); }

  void step(std::size_t i) {
    const MapStep& s = steps_[i];
    StripOp op = *strip_op(s);
    if (s.op == MapOpcode::load) {
      if (read_in_place(s.result) != nullptr) return;
      out_.steps.push_back({op, s.type == DType::bf16 ? StripSource::bf16 : StripSource::f32, operand(StripOperand::Kind::input, s.slot, s.type)});
    } else if (s.op == MapOpcode::store || s.op == MapOpcode::reduce_sum) {
      take(s.a);
      held_ = s.a.kind == RegisterKind::full ? s.a.name : -1;
      const int to = s.op == MapOpcode::store ? operand(StripOperand::Kind::output, s.slot, s.type) : operand(StripOperand::Kind::sums, s.ordinal);
      out_.steps.push_back({op, StripSource::none, to});
      return;
    } else if (!is_binary(op)) {
      take(s.a);
      if (!stored_alone(i)) out_.steps.push_back({op});
    } else {
      const bool commutes = op == StripOp::add || op == StripOp::multiply;
      const bool second = s.b.kind == RegisterKind::full && s.b.name == held_ && s.a.name != held_;
      if (second && (commutes || op == StripOp::subtract || op == StripOp::divide)) {
        emit(op == StripOp::subtract ? StripOp::subtract_from : op == StripOp::divide ? StripOp::divide_into : op, s.a);
      } else {
        take(s.a);
        held_ = s.a.kind == RegisterKind::full ? s.a.name : -1;
        emit(op, s.b);
      }
    }
    held_ = s.result;
    bool later = false;
    for (std::size_t j = end_; j < steps_.size(); ++j) later |= reads(steps_[j], s.result);
    if (later && !is_kept(s.result)) kept_.push_back(s.result);
    if (final_ && is_kept(s.result)) out_.steps.push_back({StripOp::keep, StripSource::none, memory_of(s.result, s.place)});
  }

  // A value rounded only to be stored in that type is rounded by the store.
  bool stored_alone(std::size_t i) const {
    if (steps_[i].op != MapOpcode::round) return false;
    int readers = 0;
    bool stored = false;
    for (std::size_t j = i + 1; j < steps_.size(); ++j) {
      if (!reads(steps_[j], steps_[i].result)) continue;
      ++readers;
      stored = j < end_ && steps_[j].op == MapOpcode::store && steps_[j].type == steps_[i].type;
    }
    return readers == 1 && stored;
  }

  const std::vector<MapStep>& steps_;
  std::size_t first_, end_;
  StripCode out_;
  bool final_ = false;
  int held_ = -1;           // the register whose value is at hand
  std::vector<int> kept_, locals_;
};

}  // namespace

bool strips_can(const MapStep& step) {
  if (!strip_op(step)) return false;
  if (step.op == MapOpcode::store || step.op == MapOpcode::reduce_sum) return step.a.kind == RegisterKind::full;
  return step.kind == RegisterKind::full;
}

std::optional<StripCode> strip_code(const std::vector<MapStep>& steps, std::size_t first, std::size_t end) {
  return Coder(steps, first, end).code();
}

}  // namespace dsc::cpu
