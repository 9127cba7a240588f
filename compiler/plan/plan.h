// The plan: all that a run does, as data. Programs of instructions over one arena, and the contract that they must meet.
// Produced by `emit` from the memory plan, checked by the verifier, executed by the runtime, stored as JSON (plan_json.h).
//
// One program serves every rank of a class: a rank enters only through `rank_stride` of a BufferUse, the members of a
// collective's group and the rows that read_batch reads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "compiler/plan/contract.h"
#include "compiler/support/ids.h"
#include "compiler/support/kernel_spec.h"
#include "compiler/support/performed.h"
#include "compiler/support/target.h"
#include "compiler/support/units.h"

namespace dsc {

struct BufferId : Id<BufferId> { static constexpr char letter = 'b'; using Id::Id; };

enum class BufferClass : std::uint8_t { parameters, gradients, optimizer, activations, gathered, workspace };

enum class BufferRole : std::uint8_t {
  // persistent: one address in every program, live throughout
  parameter,        // as used, whole (all D pieces, padded)
  parameter_piece,  // as used, this rank's piece (ZeRO-3)
  master,           // f32, whole;  fp32 runs have it as `parameter` or `parameter_piece` alone
  master_piece,     // f32, this rank's piece
  moment1, moment2, moment1_piece, moment2_piece,
  state,            // StateBlock
  // within a step
  gathered,             // a parameter gathered for use, whole (ZeRO-3)
  gradient,             // g or A of one (parameter, segment), or their sum (segment -1): f32, whole
  gradient_piece,       // the reduced piece, f32
  tokens, targets, value, value_gradient, contribution, statistics, loss,
  norm_table, loss_table, workspace,
};

struct Buffer {
  std::string name;  // "block[3].attn.wq gathered"
  BufferRole role = BufferRole::value;
  BufferClass cls = BufferClass::activations;
  DType type = DType::f32;
  std::int64_t elements = 0;  // of `type`; workspace counts bytes as u8
  Bytes bytes{0};             // elements * size, before alignment
  Bytes offset{0};            // in the arena
  bool persistent = false;
  std::optional<OpId> op;                // value, value_gradient, contribution, statistics
  std::optional<ParameterId> parameter;
  int segment = -1;                      // gradient of one segment's use sites; -1: of all
  SourceRange source;
};

// A range of a buffer: byte address = arena + buffer.offset + offset + data_rank * rank_stride, `bytes` long.
struct BufferUse {
  BufferId buffer{0};
  Bytes offset{0};
  Bytes rank_stride{0};
  Bytes bytes{0};
};

enum class Engine : std::uint8_t { compute, communication, storage };

enum class CollectiveKind : std::uint8_t { all_gather, reduce_scatter, all_reduce };

// One tensor of a (bucketed) collective over D members: pieces of `piece_elements`, member d owns piece d.
//   all_gather:     from = one piece, to = D pieces; `from` may lie inside `to` at the rank's own place.
//   reduce_scatter: from = D pieces, to = one piece; to[i] = fold over members in rank order of from_d[piece * ... + i].
//   all_reduce:     from = to = D pieces, in place.
struct CollectivePart {
  BufferUse from, to;
  std::int64_t piece_elements = 0;
  DType type = DType::f32;
};

struct CollectiveSpec {
  CollectiveKind kind = CollectiveKind::all_gather;
  std::vector<int> mesh_axes;   // the group: ranks that differ in these coordinates alone; innermost last
  bool wire_bf16 = false;       // reductions: each contribution is rounded to bf16 first
  std::vector<CollectivePart> parts;
  std::string cause;            // "zero 3 over data: gather of block[3] for the forward pass"
};

struct Instruction {
  std::string name;  // "block[3].attn.q", "gather block[3]"
  Engine engine = Engine::compute;
  std::variant<KernelSpec, CollectiveSpec> op;
  std::vector<BufferUse> inputs, outputs;  // of a kernel, in its spec's order; a collective's are in its parts
  std::optional<BufferUse> workspace;
  std::vector<int> waits;           // indices in the same section of earlier instructions on other engines that must have ended
  std::vector<Performed> performs;
  SourceRange source;               // what in the file it comes from (a rule, for collectives)
};

// A section runs `iterations` times; iteration i is micro-batch first_micro_batch + i. All engines of the rank join at the
// end of each iteration. Instructions stand in one order over all engines; each engine runs its own in that order.
struct Section {
  std::string name;  // "first", "middle", "last", "only"
  std::int64_t first_micro_batch = 0;
  std::int64_t iterations = 1;
  std::vector<Instruction> instructions;
};

struct Program {
  std::string name;  // "step", "evaluate", "sample"
  std::vector<Section> sections;
};

struct PlanSource {
  std::string name, text;
};

struct MemorySummary {
  Bytes device_arena{0};   // mapped: whole pages
  Bytes packed{0};         // the highest byte in use, before page rounding
  Bytes lower_bound{0};    // the greatest live sum over all programs, sizes aligned
  Bytes persistent{0};     // parameters, 16-bit copies and optimizer state, padding included
  Bytes host_arena{0}, storage{0};
};

struct Plan {
  int version = 1;
  std::string compiler_version;
  Target target;
  std::vector<PlanSource> sources;                        // every used file's text, the main file first
  std::vector<std::pair<std::string, std::string>> sets;  // --set
  std::string source_folder;                              // what relative paths were resolved against
  Contract contract;
  std::vector<Buffer> buffers;     // of all programs; those of different programs may share bytes unless persistent
  std::vector<Program> programs;   // step and evaluate (evaluate only where the file evaluates), or sample alone
  MemorySummary memory;
  std::string hash;                // content hash of all the rest, hex; set by plan_json's seal()

  const Buffer& buffer(BufferId id) const { return buffers[id.index()]; }
};

const char* name_of(BufferClass cls);
const char* name_of(BufferRole role);
const char* name_of(Engine engine);
const char* name_of(CollectiveKind kind);

}  // namespace dsc
