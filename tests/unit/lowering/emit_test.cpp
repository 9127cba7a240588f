#include "compiler/emit/emit.h"

#include <gtest/gtest.h>

#include "tests/unit/lowering/toy.h"

namespace dsc {
namespace {

TEST(Emit, CarriesEverythingOver) {
  const toy::Toy toy = toy::make({}, DType::bf16);
  LayoutSpec layout = toy::layout(4, 2, 2);
  layout.wire_bf16 = true;
  const local::Scheduled scheduled = schedule(toy::partitioned(toy, layout), layout);
  const MemoryPlan memory = plan_memory(scheduled, reference_target());
  const Emitted emitted = emit(scheduled, memory);
  ASSERT_EQ(emitted.buffers.size(), scheduled.buffers.size());
  for (std::size_t b = 0; b < emitted.buffers.size(); ++b) {
    EXPECT_EQ(emitted.buffers[b].name, scheduled.buffers[b].name);
    EXPECT_EQ(static_cast<int>(emitted.buffers[b].role), static_cast<int>(scheduled.buffers[b].role));
    EXPECT_EQ(static_cast<int>(emitted.buffers[b].cls), static_cast<int>(scheduled.buffers[b].cls));
    EXPECT_EQ(emitted.buffers[b].bytes.value, emitted.buffers[b].elements * size_of(emitted.buffers[b].type));
    EXPECT_EQ(emitted.buffers[b].offset, memory.offsets[b]);
  }
  ASSERT_EQ(emitted.programs.size(), 2u);
  int reductions = 0, gathers = 0;
  for (std::size_t p = 0; p < 2; ++p) {
    for (std::size_t s = 0; s < emitted.programs[p].sections.size(); ++s) {
      const Section& section = emitted.programs[p].sections[s];
      for (std::size_t i = 0; i < section.instructions.size(); ++i) {
        EXPECT_EQ(section.instructions[i].waits, memory.waits[p][s][i]);
        const auto* collective = std::get_if<CollectiveSpec>(&section.instructions[i].op);
        EXPECT_EQ(collective != nullptr, section.instructions[i].engine == Engine::communication);
        if (!collective) continue;
        EXPECT_EQ(collective->mesh_axes, layout.batch_axes);
        EXPECT_FALSE(collective->cause.empty());
        const bool gather = collective->kind == CollectiveKind::all_gather;
        EXPECT_EQ(collective->wire_bf16, !gather);
        (gather ? gathers : reductions) += 1;
      }
    }
  }
  EXPECT_GT(reductions, 0);
  EXPECT_GT(gathers, 0);
  EXPECT_EQ(emitted.memory.packed, memory.packed);
  EXPECT_EQ(emitted.memory.lower_bound, memory.lower_bound);
}

TEST(Emit, RolesHaveTheSameNames) {
  // emit casts between the enumerations: the last and a middle member of each must agree, and so must those between.
  EXPECT_STREQ(name_of(static_cast<BufferRole>(local::BufferRole::moment2_piece)), "moment2_piece");
  EXPECT_STREQ(name_of(static_cast<BufferRole>(local::BufferRole::gradient_piece)), "gradient_piece");
  EXPECT_STREQ(name_of(static_cast<BufferRole>(local::BufferRole::value_gradient)), "value_gradient");
  EXPECT_STREQ(name_of(static_cast<BufferRole>(local::BufferRole::loss_table)), "loss_table");
  EXPECT_STREQ(name_of(static_cast<BufferClass>(local::BufferClass::gathered)), "gathered");
  EXPECT_STREQ(name_of(static_cast<CollectiveKind>(local::CollectiveKind::reduce_scatter)), "reduce_scatter");
  EXPECT_STREQ(name_of(static_cast<Engine>(local::Engine::communication)), "communication");
}

}  // namespace
}  // namespace dsc
