// What the parts of the verifier share: the plan, the report, and every instruction's accesses to buffers. Internal to
// compiler/plan. A part is one function that takes the context; none changes what another reads.
#pragma once

#include <string>
#include <vector>

#include "compiler/plan/operands.h"
#include "compiler/plan/verify.h"

namespace dsc::verifying {

// A range of a buffer that an instruction touches; bytes relative to the buffer. With a stride, rank r touches
// [begin + r * stride, begin + r * stride + width); [begin, end) is the hull over all ranks.
struct Access {
  BufferId buffer{0};
  std::int64_t begin = 0, end = 0, stride = 0, width = 0;
  bool read = false, write = false;
  bool defines = false;    // a write of every byte of [begin, end), or of the rank's own part of it
  bool table = false;      // norm and loss tables: verify_training tracks them by column
  bool workspace = false;
};

struct InstructionFacts {
  const Instruction* instruction = nullptr;
  const KernelSpec* kernel = nullptr;          // one of these two
  const CollectiveSpec* collective = nullptr;
  SpecOperands operands;                       // of the kernel
  std::vector<Access> accesses;
};

struct Context {
  const Plan& plan;
  VerifyReport& report;
  const Contract& contract;
  const Model& model;
  std::int64_t ranks = 1;          // D
  std::int64_t micro_batches = 1;  // M
  // [program][section][instruction]
  std::vector<std::vector<std::vector<InstructionFacts>>> facts;

  struct At { int program = -1, section = -1, instruction = -1; };
  void fail(VerifyErrorKind kind, At at, std::string message, std::optional<BufferId> buffer = std::nullopt) const;
  const Buffer& buffer(BufferId id) const { return plan.buffers[id.index()]; }
  const std::string& name(BufferId id) const { return plan.buffers[id.index()].name; }
  bool full() const { return report.errors.size() >= kMaxVerifyErrors; }
};

bool is_persistent(BufferRole role);
BufferClass class_of(BufferRole role);
// The buffers that the runtime reads after a program: live to its end.
bool is_result(const Context& context, const Program& program, const Buffer& buffer);

// Fills context.facts and checks buffers, uses, operands, workspaces, engines.
void check_structure(Context& context);
// Lifetimes, bytes, the lower bound and the memory summary; every read after a write.
void check_memory_use(Context& context);
// Waits, races between engines.
void check_order(Context& context);
// Groups, shapes, and that nothing waits in a circle.
void check_collectives(Context& context);
// That the programs compute what the contract says.
void check_meaning(Context& context);

}  // namespace dsc::verifying
