// Naive facts of a plan, computed by the tests themselves: what each instruction touches, lifetimes, which pairs are
// ordered. Quadratic on purpose, and sharing nothing with the verifier.
#pragma once

#include <optional>
#include <vector>

#include "compiler/plan/plan.h"

namespace dsc::testing {

struct Touch {
  BufferId buffer{0};
  std::int64_t begin = 0, end = 0;  // bytes of the arena, over all ranks
  bool write = false;
};

// Inputs read, outputs written, accumulated and updated ones both.
std::vector<Touch> touches(const Plan& plan, const Instruction& instruction);

// Whether two instructions of a section, on different engines and not ordered by engines and waits, touch a byte that one
// of them writes.
bool has_race(const Plan& plan, const Section& section);

// ordered[a][b]: a has ended when b starts.
std::vector<std::vector<bool>> ordered(const Section& section);

struct Span { int first = -1, last = -1; };  // positions in the program; -1: not used
// By buffer; a buffer that persists is used throughout.
std::vector<Span> spans(const Plan& plan, const Program& program);

// Takes an instruction out; what waited for it waits for what it waited for.
void remove_instruction(Section& section, int index);

}  // namespace dsc::testing
