#include "compiler/partition/gradients.h"

#include "compiler/partition/flatten.h"
#include "compiler/support/check.h"

namespace dsc::local {

Gradients::Gradients(const PartitionInput& input, const Graph& graph, const Storage& storage, std::int64_t micro_batches, Partitioned& out)
    : input_(input), storage_(storage), out_(out), each_(input.train.reduce == Reduce::each && micro_batches > 1),
      of_(graph.parameter_gradients.size()), place_of_tensor_(graph.tensors.size()), segment_of_tensor_(graph.tensors.size(), -1) {
  for (std::size_t p = 0; p < graph.parameter_gradients.size(); ++p) {
    of_[p].segments = graph.parameter_gradients[p];
    of_[p].accumulators.resize(of_[p].segments.size());
    for (std::size_t s = 0; s < of_[p].segments.size(); ++s) {
      const std::size_t tensor = of_[p].segments[s].index();
      place_of_tensor_[tensor] = {static_cast<std::uint32_t>(p), static_cast<std::uint32_t>(s)};
      segment_of_tensor_[tensor] = graph.tensors[tensor].segment;
    }
  }
}

void Gradients::begin_section(bool first, bool last) {
  first_ = first;
  last_ = last;
  completion_order_.clear();
  for (OfParameter& of : of_) {
    of.current.assign(of.segments.size(), std::nullopt);
    of.written = 0;
  }
}

std::vector<ParameterId> Gradients::parameters() const {
  std::vector<ParameterId> ids;
  for (std::size_t p = 0; p < of_.size(); ++p) {
    if (!of_[p].segments.empty()) ids.push_back(ParameterId(p));
  }
  return ids;
}

std::int64_t Gradients::column(ParameterId id) const {
  std::int64_t column = 0;
  for (std::size_t p = 0; p < id.index(); ++p) column += of_[p].segments.empty() ? 0 : 1;
  return column;
}

// The first segment's buffer becomes the sum of all, with room for the padding of the last piece.
BufferId Gradients::add_whole(ParameterId id, std::size_t segment, const char* what) {
  const Stored& stored = storage_.parameters[id.index()];
  const Parameter& parameter = input_.model.parameter(id);
  return add_buffer(out_, Buffer{.name = what + (" " + parameter.path), .role = BufferRole::gradient, .cls = BufferClass::gradients,
                                 .type = DType::f32, .elements = segment == 0 ? stored.piece_elements * out_.data_ranks : stored.elements,
                                 .parameter = id, .segment = segment_of_tensor_[of_[id.index()].segments[segment].index()],
                                 .source = parameter.source});
}

BufferId Gradients::add_piece(ParameterId id, const char* what) {
  const Parameter& parameter = input_.model.parameter(id);
  return add_buffer(out_, Buffer{.name = what + (" " + parameter.path) + " piece", .role = BufferRole::gradient_piece,
                                 .cls = BufferClass::gradients, .type = DType::f32,
                                 .elements = storage_.parameters[id.index()].piece_elements, .parameter = id, .source = parameter.source});
}

void Gradients::zero_padding(ParameterId id, BufferId buffer, SourceRange source, std::vector<Instruction>& before) const {
  const Stored& stored = storage_.parameters[id.index()];
  const std::int64_t padding = stored.padding(out_.data_ranks);
  if (padding == 0) return;
  before.push_back(kernel("padding of grad " + input_.model.parameter(id).path, zero_map(padding), {},
                          {Use{buffer, Bytes(stored.elements * 4), Bytes(0), Bytes(padding * 4)}}, source));
}

Instruction Gradients::add_into(ParameterId id, BufferId to, BufferId from, std::int64_t elements, const std::string& what,
                                SourceRange source) const {
  return kernel(what + " " + input_.model.parameter(id).path, accumulate_map(elements), {whole_use(from, elements, DType::f32)},
                {whole_use(to, elements, DType::f32)}, source);
}

namespace {

// Makes the output add to what is there, where the kernel can.
bool accumulate(KernelSpec& spec, std::size_t output) {
  if (auto* map = std::get_if<MapSpec>(&spec)) return map->outputs[output].accumulate = true;
  if (auto* product = std::get_if<ProductSpec>(&spec)) return product->outputs[output].accumulate = true;
  if (auto* lookup = std::get_if<LookupBackwardSpec>(&spec)) return lookup->accumulate = true;
  return false;
}

}  // namespace

Use Gradients::write(TensorId gradient, std::size_t output, KernelSpec& spec, const Instruction& step, std::vector<Instruction>& before,
                     std::vector<Instruction>& after) {
  const auto [p, s] = place_of_tensor_[gradient.index()];
  DSC_CHECK(segment_of_tensor_[gradient.index()] >= 0, "a gradient that no parameter has: " + step.name);
  const ParameterId id(p);
  OfParameter& of = of_[p];
  const Stored& stored = storage_.parameters[p];
  std::optional<BufferId>& current = of.current[s];
  ++of.written;
  if (!once(of)) {
    // The first micro-batch's sum over ranks, where it stays whole, is S itself.
    const bool is_sum = s == 0 && first_ && !stored.piecewise;
    current = add_whole(id, s, is_sum ? "sum of grad" : "grad");
    if (is_sum) of.sum = current;
    if (s == 0) zero_padding(id, *current, step.source, before);
    return whole_use(*current, stored.elements, DType::f32);
  }
  std::optional<BufferId>& accumulator = of.accumulators[s];
  if (first_) {
    accumulator = add_whole(id, s, "grad");
    if (s == 0) zero_padding(id, *accumulator, step.source, before);
  } else if (!accumulate(spec, output)) {
    const BufferId fresh = add_buffer(out_, Buffer{.name = "fresh grad " + input_.model.parameter(id).path, .role = BufferRole::gradient,
                                                   .cls = BufferClass::gradients, .type = DType::f32, .elements = stored.elements,
                                                   .parameter = id, .segment = segment_of_tensor_[gradient.index()],
                                                   .source = input_.model.parameter(id).source});
    after.push_back(add_into(id, *accumulator, fresh, stored.elements, "accumulate grad", step.source));
    current = accumulator;
    return whole_use(fresh, stored.elements, DType::f32);
  }
  current = accumulator;
  return whole_use(*accumulator, stored.elements, DType::f32);
}

std::optional<Reduction> Gradients::complete(TensorId gradient, SourceRange source, std::vector<Instruction>& sums) {
  const std::uint32_t p = place_of_tensor_[gradient.index()].first;
  const ParameterId id(p);
  OfParameter& of = of_[p];
  const Stored& stored = storage_.parameters[p];
  if (of.written < of.segments.size()) return std::nullopt;
  completion_order_.push_back(id);
  const bool accumulated = once(of);
  if (accumulated && !last_) return std::nullopt;
  for (std::size_t s = 1; s < of.segments.size(); ++s) {
    sums.push_back(add_into(id, *of.current[0], *of.current[s], stored.elements, "sum of segments of grad", source));
  }
  const std::int64_t whole = stored.piece_elements * out_.data_ranks;
  if (out_.data_ranks == 1) {
    if (!accumulated && !first_) sums.push_back(add_into(id, *of.sum, *of.current[0], stored.elements, "accumulate grad", source));
    return std::nullopt;
  }
  Reduction reduction{id, whole_use(*of.current[0], whole, DType::f32), whole_use(*of.current[0], whole, DType::f32), stored.piece_elements, 0, {}};
  BufferId reduced = *of.current[0];
  if (stored.piecewise) {
    reduced = add_piece(id, accumulated ? "grad" : first_ ? "sum of grad" : "reduced grad");
    if (accumulated) of.piece = reduced;
    if (!accumulated && first_) of.sum = reduced;
    reduction.to = whole_use(reduced, stored.piece_elements, DType::f32);
  }
  if (!accumulated && !first_) {
    const std::int64_t elements = stored.piecewise ? stored.piece_elements : stored.elements;
    reduction.finish = add_into(id, *of.sum, reduced, elements, "accumulate grad", source);
  }
  return reduction;
}

Use Gradients::final_gradient(ParameterId id) const {
  const OfParameter& of = of_[id.index()];
  const Stored& stored = storage_.parameters[id.index()];
  const std::int64_t elements = stored.piece_elements * (stored.piecewise ? 1 : out_.data_ranks);
  const BufferId buffer = !once(of) ? *of.sum : stored.piecewise ? *of.piece : *of.accumulators[0];
  return whole_use(buffer, elements, DType::f32);
}

}  // namespace dsc::local
