// Graphs and a layout in, the instructions of one rank out: every axis a local size, every kernel a flat spec, every
// tensor a buffer, and what ZeRO, accumulation over micro-batches and the optimizer add. Nothing is ordered across engines
// and nothing has an address yet: `schedule` places the gathers and reductions that are listed here as needs.
//
// One rank's program serves all ranks: a rank enters only through Use::rank_stride (times its data rank).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "compiler/graph/graph.h"
#include "compiler/support/kernel_spec.h"
#include "compiler/support/layout.h"
#include "compiler/support/model.h"
#include "compiler/support/performed.h"
#include "compiler/support/target.h"
#include "compiler/support/training.h"
#include "compiler/support/units.h"

namespace dsc::local {

struct BufferId : Id<BufferId> { static constexpr char letter = 'b'; using Id::Id; };

// The same classes and roles as a plan's, in the same order (emit checks that).
enum class BufferClass : std::uint8_t { parameters, gradients, optimizer, activations, gathered, workspace };
enum class BufferRole : std::uint8_t {
  parameter, parameter_piece, master, master_piece, moment1, moment2, moment1_piece, moment2_piece, state,
  gathered, gradient, gradient_piece, tokens, targets, value, value_gradient, contribution, statistics, loss,
  norm_table, loss_table, workspace,
};

// A tensor of one section has a buffer of its own in each section; what crosses sections has one for the program;
// what is persistent has one for all programs.
struct Buffer {
  std::string name;
  BufferRole role = BufferRole::value;
  BufferClass cls = BufferClass::activations;
  DType type = DType::f32;
  std::int64_t elements = 0;
  bool persistent = false;
  bool result = false;  // the runtime reads it after the program: the loss table of evaluate, the logits of sample
  std::optional<OpId> op = std::nullopt;
  std::optional<ParameterId> parameter = std::nullopt;
  int segment = -1;
  SourceRange source = {};
  Bytes bytes() const { return Bytes(elements * size_of(type)); }
};

// A range of a buffer, shifted by data rank * rank_stride.
struct Use {
  BufferId buffer{0};
  Bytes offset{0}, rank_stride{0}, bytes{0};
};

enum class CollectiveKind : std::uint8_t { all_gather, reduce_scatter, all_reduce };
struct CollectivePart {
  Use from, to;
  std::int64_t piece_elements = 0;
  DType type = DType::f32;
};
struct Collective {
  CollectiveKind kind = CollectiveKind::all_gather;
  std::vector<int> mesh_axes;
  bool wire_bf16 = false;
  std::vector<CollectivePart> parts;
  std::string cause;
};

enum class Engine : std::uint8_t { compute, communication, storage };

// An input that reads a parameter of which this rank keeps a piece: the schedule gives it a gathered buffer.
struct ParameterRead {
  std::size_t input = 0;
  ParameterId parameter{0};
};

struct Instruction {
  std::string name;
  Engine engine = Engine::compute;
  std::variant<KernelSpec, Collective> op;
  std::vector<Use> inputs, outputs;  // of a kernel; where `reads` names an input, its buffer is not decided yet
  std::optional<Use> workspace;
  std::vector<ParameterRead> reads;
  std::vector<Performed> performs;
  SourceRange source;
  int segment = 0;        // of the op it belongs to: gathers of one segment may share a bucket
  bool backward = false;  // for the cause of a gather
};

// A gradient to be summed over ranks once instruction `after` of its section has ended.
struct Reduction {
  ParameterId parameter{0};
  Use from, to;
  std::int64_t piece_elements = 0;
  std::size_t after = 0;
  std::optional<Instruction> finish;  // adds the sum to the accumulator: `reduce = each`
};

// A parameter to be gathered in place once instruction `after` has updated this rank's piece (ZeRO 1 and 2).
struct Publication {
  ParameterId parameter{0};
  Use from, to;
  std::int64_t piece_elements = 0;
  DType type = DType::f32;
  std::size_t after = 0;
};

struct Section {
  std::string name;  // "first", "middle", "last", "only"
  std::int64_t first_micro_batch = 0, iterations = 1;
  std::vector<Instruction> instructions;  // in an order that respects dependences
  std::vector<Reduction> reductions;      // in the order in which the gradients are complete
  std::vector<Publication> publications;
  std::size_t tail = 0;  // instructions from this index on follow the backward pass: norm, control, updates
};

struct Program {
  std::string name;  // "step", "evaluate", "sample"
  std::vector<Section> sections;
};

// What the schedule must know of a parameter of which this rank keeps a piece.
struct ShardedParameter {
  ParameterId parameter{0};
  Use piece;                        // parameter_piece
  std::int64_t piece_elements = 0;
  std::int64_t whole_elements = 0;  // of all pieces: what bucket, prefetch and max_live count
  DType type = DType::f32;
  std::string path;
  SourceRange source;
};

struct Partitioned {
  std::vector<Buffer> buffers;  // of all programs
  std::vector<Program> programs;
  std::vector<std::optional<ShardedParameter>> sharded;  // by ParameterId; nullopt: whole on every rank
  std::vector<std::string> parameter_paths;              // by ParameterId
  std::vector<std::int64_t> parameter_elements;
  std::int64_t data_ranks = 1;
  int zero_stage = 0;             // 0 where there is one data rank
  std::string data_axes;          // "data", "node, local": for causes
  std::vector<int> mesh_axes;     // of every collective
  SourceRange zero_source, split_source;

  const Buffer& buffer(BufferId id) const { return buffers[id.index()]; }
};

}  // namespace dsc::local

namespace dsc {

// Either `step` with or without `evaluate`, or `sample` alone. For `sample` the layout has one rank and micro_batch 1.
struct PartitionInput {
  const Model& model;
  const TrainSpec& train;
  const LayoutSpec& layout;
  const Target& target;
  const Graph* step = nullptr;
  const Graph* evaluate = nullptr;
  const Graph* sample = nullptr;
};

local::Partitioned partition(const PartitionInput& input);

// For `--emit partition`: buffers that persist, then one line an instruction.
std::string print(const local::Partitioned& partitioned);

}  // namespace dsc
