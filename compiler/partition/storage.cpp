#include "compiler/partition/storage.h"

#include "compiler/support/state_block.h"

namespace dsc::local {

Use whole_use(BufferId buffer, std::int64_t elements, DType type) {
  return {buffer, Bytes(0), Bytes(0), Bytes(elements * size_of(type))};
}

Use piece_use(BufferId buffer, std::int64_t piece_elements, DType type) {
  const Bytes piece(piece_elements * size_of(type));
  return {buffer, Bytes(0), piece, piece};
}

BufferId add_buffer(Partitioned& out, Buffer buffer) {
  out.buffers.push_back(std::move(buffer));
  return BufferId(out.buffers.size() - 1);
}

namespace {

void describe_layout(const PartitionInput& input, Partitioned& out) {
  const LayoutSpec& layout = input.layout;
  out.data_ranks = layout.data_ranks();
  out.zero_stage = out.data_ranks == 1 ? 0 : layout.zero_stage;
  out.mesh_axes = layout.batch_axes;
  for (int axis : layout.batch_axes) {
    if (!out.data_axes.empty()) out.data_axes += ", ";
    out.data_axes += layout.mesh[static_cast<std::size_t>(axis)].name;
  }
  out.zero_source = layout.zero_source;
  out.split_source = layout.batch_split_source;
}

}  // namespace

Storage place_parameters(const PartitionInput& input, Partitioned& out) {
  describe_layout(input, out);
  const Model& model = input.model;
  const DType used_type = input.train.activation;
  const bool trains = input.sample == nullptr;
  const bool adam = input.train.optimizer.kind == OptimizerKind::adamw;
  Storage storage;
  for (std::size_t i = 0; i < model.parameters.size(); ++i) {
    const ParameterId id(i);
    const Parameter& parameter = model.parameters[i];
    Stored stored;
    stored.elements = element_count(model, id);
    stored.piece_elements = (stored.elements + out.data_ranks - 1) / out.data_ranks;
    stored.piecewise = out.zero_stage >= 1;
    stored.sharded = out.zero_stage == 3 && stored.elements >= input.layout.persist_below.value;
    const std::int64_t whole = stored.piece_elements * out.data_ranks;
    const auto add = [&](BufferRole role, BufferClass cls, DType type, bool piece, const char* what) {
      return add_buffer(out, Buffer{.name = parameter.path + what, .role = role, .cls = cls, .type = type,
                                    .elements = piece ? stored.piece_elements : whole, .persistent = true,
                                    .parameter = id, .source = parameter.source});
    };
    stored.used = add(stored.sharded ? BufferRole::parameter_piece : BufferRole::parameter, BufferClass::parameters, used_type,
                      stored.sharded, stored.sharded ? " piece" : "");
    if (trains) {
      const bool piece = stored.piecewise;
      if (used_type != DType::f32) {
        stored.master = add(piece ? BufferRole::master_piece : BufferRole::master, BufferClass::optimizer, DType::f32, piece, " master");
      }
      stored.moment1 = add(piece ? BufferRole::moment1_piece : BufferRole::moment1, BufferClass::optimizer, DType::f32, piece, " moment1");
      if (adam) {
        stored.moment2 = add(piece ? BufferRole::moment2_piece : BufferRole::moment2, BufferClass::optimizer, DType::f32, piece, " moment2");
      }
    }
    out.parameter_paths.push_back(parameter.path);
    out.parameter_elements.push_back(stored.elements);
    out.sharded.emplace_back();
    if (stored.sharded) {
      out.sharded.back() = ShardedParameter{id, whole_use(*stored.used, stored.piece_elements, used_type), stored.piece_elements,
                                            whole, used_type, parameter.path, parameter.source};
    }
    storage.parameters.push_back(stored);
  }
  if (trains) {
    storage.state = add_buffer(out, Buffer{.name = "state", .role = BufferRole::state, .cls = BufferClass::workspace, .type = DType::u8,
                                           .elements = sizeof(StateBlock), .persistent = true});
  }
  return storage;
}

}  // namespace dsc::local
