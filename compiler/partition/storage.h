// Where a rank keeps the training state: for every parameter which buffers, whole or one of D pieces. Internal to partition.
#pragma once

#include <optional>
#include <vector>

#include "compiler/partition/partition.h"

namespace dsc::local {

// A parameter on this rank. In f32 the parameter as used is the master.
struct Stored {
  std::int64_t elements = 0;        // without padding
  std::int64_t piece_elements = 0;  // of each of the D pieces
  bool sharded = false;             // ZeRO 3: `used` is one piece, gathered for use
  bool piecewise = false;           // ZeRO 1 to 3: this rank updates its own piece alone
  std::optional<BufferId> used, master, moment1, moment2;
  std::int64_t padding(std::int64_t data_ranks) const { return piece_elements * data_ranks - elements; }
};

struct Storage {
  std::vector<Stored> parameters;  // by ParameterId
  std::optional<BufferId> state;
};

// Adds the persistent buffers to `out` and fills what `out` says of the layout.
Storage place_parameters(const PartitionInput& input, Partitioned& out);

Use whole_use(BufferId buffer, std::int64_t elements, DType type);
// This rank's piece inside a buffer of all pieces.
Use piece_use(BufferId buffer, std::int64_t piece_elements, DType type);
BufferId add_buffer(Partitioned& out, Buffer buffer);

}  // namespace dsc::local
