// Collectives. One program serves every rank, so all members of a group enter the same collectives in the same order as
// long as the group is the one that the data are split over and offsets are the rank's own; what is left to prove is that,
// and that with one operation in flight per engine nothing waits in a circle.
#include <deque>

#include "compiler/plan/verify_context.h"

namespace dsc::verifying {
namespace {

using Kind = VerifyErrorKind;

void check_part(const Context& context, Context::At at, const CollectiveSpec& spec, const CollectivePart& part) {
  std::int64_t piece = part.piece_elements * size_of(part.type), all = piece * context.ranks;
  const Buffer &from = context.buffer(part.from.buffer), &to = context.buffer(part.to.buffer);
  if (from.type != part.type || to.type != part.type)
    context.fail(Kind::collective_type, at, std::string("a part of ") + std::string(name_of(part.type)) + " from " + std::string(name_of(from.type)) + " to " + std::string(name_of(to.type)), part.from.buffer);
  if (piece <= 0) return context.fail(Kind::collective_count, at, "a part without elements", part.from.buffer);
  auto bytes = [&](const BufferUse& use, std::int64_t expected, const char* what) {
    if (use.bytes.value == expected) return;
    context.fail(Kind::collective_count, at, std::string(what) + " has " + std::to_string(use.bytes.value) + " bytes, " + std::to_string(context.ranks) + " pieces of " +
                                                 std::to_string(part.piece_elements) + " elements make it " + std::to_string(expected), use.buffer);
  };
  // A piece is a buffer of its own at its start, or the rank's place among all pieces.
  auto piece_place = [&](const BufferUse& use) {
    if (use.rank_stride.value != 0 && use.rank_stride.value != piece)
      context.fail(Kind::collective_shape, at, "pieces of " + std::to_string(piece) + " bytes stand " + std::to_string(use.rank_stride.value) + " apart", use.buffer);
    if (use.offset.value != 0) context.fail(Kind::collective_shape, at, "a piece begins at byte " + std::to_string(use.offset.value), use.buffer);
  };
  auto whole_place = [&](const BufferUse& use) {
    if (use.rank_stride.value != 0 || use.offset.value != 0) context.fail(Kind::collective_shape, at, "a whole tensor that depends on the rank", use.buffer);
  };
  switch (spec.kind) {
    case CollectiveKind::all_gather:
      bytes(part.from, piece, "the piece");
      bytes(part.to, all, "the whole");
      piece_place(part.from);
      whole_place(part.to);
      if (part.from.buffer == part.to.buffer && part.from.rank_stride.value != piece)
        context.fail(Kind::collective_shape, at, "gathers in place from another place than the rank's own", part.from.buffer);
      break;
    case CollectiveKind::reduce_scatter:
      bytes(part.from, all, "the whole");
      bytes(part.to, piece, "the piece");
      whole_place(part.from);
      piece_place(part.to);
      break;
    case CollectiveKind::all_reduce:
      bytes(part.from, all, "the whole");
      bytes(part.to, all, "the whole");
      whole_place(part.from);
      whole_place(part.to);
      if (part.from.buffer != part.to.buffer) context.fail(Kind::collective_shape, at, "an all-reduce that is not in place", part.to.buffer);
      break;
  }
}

void check_collective(const Context& context, Context::At at, const CollectiveSpec& spec) {
  if (spec.mesh_axes != context.contract.layout.batch_axes)
    context.fail(Kind::collective_group, at, "the group is not the mesh axes that split batch, slowest first");
  if (context.ranks == 1) context.fail(Kind::collective_group, at, "a collective of one rank");
  if (spec.parts.empty()) context.fail(Kind::collective_count, at, "a collective without parts");
  bool reduces = spec.kind != CollectiveKind::all_gather;
  bool wire = reduces && context.contract.layout.wire_bf16;
  if (spec.wire_bf16 != wire)
    context.fail(Kind::wrong_wire, at, spec.wire_bf16 ? "contributions travel as bf16, which the layout does not ask for" : "contributions travel as f32, the layout says `wire bf16`");
  for (const CollectivePart& part : spec.parts) {
    check_part(context, at, spec, part);
    if (reduces && part.type != DType::f32) context.fail(Kind::collective_type, at, "a sum over ranks in " + std::string(name_of(part.type)), part.from.buffer);
  }
}

// One iteration of a section, each engine with one instruction in flight and unbuffered collectives: all ranks run the same
// streams, so a member waits for another in a circle exactly if one rank's streams do.
void check_progress(const Context& context, Context::At at, const Section& section) {
  std::size_t n = section.instructions.size();
  std::vector<int> missing(n, 0), last(3, -1);
  std::vector<std::vector<int>> unblocks(n);
  for (std::size_t i = 0; i < n; ++i) {
    auto depends = [&](int on) {
      unblocks[on].push_back(static_cast<int>(i));
      ++missing[i];
    };
    int& previous = last[static_cast<int>(section.instructions[i].engine)];
    if (previous >= 0) depends(previous);
    previous = static_cast<int>(i);
    for (int wait : section.instructions[i].waits) depends(wait);
  }
  std::deque<int> ready;
  for (std::size_t i = 0; i < n; ++i)
    if (missing[i] == 0) ready.push_back(static_cast<int>(i));
  std::size_t ended = 0;
  while (!ready.empty()) {
    int i = ready.front();
    ready.pop_front();
    ++ended;
    for (int next : unblocks[i])
      if (--missing[next] == 0) ready.push_back(next);
  }
  if (ended == n) return;
  for (std::size_t i = 0; i < n; ++i)
    if (missing[i] > 0) {
      at.instruction = static_cast<int>(i);
      return context.fail(Kind::collective_deadlock, at, std::to_string(n - ended) + " instructions wait in a circle, this one among them");
    }
}

}  // namespace

void check_collectives(Context& context) {
  for (std::size_t p = 0; p < context.facts.size(); ++p)
    for (std::size_t s = 0; s < context.facts[p].size(); ++s) {
      Context::At at{static_cast<int>(p), static_cast<int>(s), -1};
      for (std::size_t i = 0; i < context.facts[p][s].size(); ++i) {
        at.instruction = static_cast<int>(i);
        if (const CollectiveSpec* spec = context.facts[p][s][i].collective) check_collective(context, at, *spec);
      }
      check_progress(context, {static_cast<int>(p), static_cast<int>(s), -1}, context.plan.programs[p].sections[s]);
    }
}

}  // namespace dsc::verifying
