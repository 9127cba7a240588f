// Flat steps to one program's sections: a buffer for every tensor, gradients accumulated over micro-batches, and what the
// step adds around them. Internal to partition.
#pragma once

#include "compiler/partition/flatten.h"
#include "compiler/partition/partition.h"
#include "compiler/partition/storage.h"

namespace dsc::local {

enum class ProgramKind : std::uint8_t { step, evaluate, sample };

Program build_program(const PartitionInput& input, const Graph& graph, const FlatGraph& flat, const Storage& storage, ProgramKind kind,
                      Partitioned& out);

}  // namespace dsc::local
