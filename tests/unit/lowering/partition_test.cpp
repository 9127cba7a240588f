#include "compiler/partition/partition.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "tests/unit/lowering/toy.h"

namespace dsc::local {
namespace {

const Buffer* find(const Partitioned& p, BufferRole role, std::size_t parameter) {
  for (const Buffer& buffer : p.buffers) {
    if (buffer.role == role && buffer.parameter == ParameterId(parameter)) return &buffer;
  }
  return nullptr;
}

int count(const Section& section, const char* kernel) {
  return static_cast<int>(std::count_if(section.instructions.begin(), section.instructions.end(), [&](const Instruction& i) {
    const auto* spec = std::get_if<KernelSpec>(&i.op);
    return spec && std::string(name_of(*spec)) == kernel;
  }));
}

const Instruction& named(const Section& section, const std::string& name) {
  const auto at = std::find_if(section.instructions.begin(), section.instructions.end(), [&](const Instruction& i) { return i.name == name; });
  EXPECT_NE(at, section.instructions.end()) << name;
  return *at;
}

constexpr std::size_t wte = 0, norm0 = 1, up0 = 2;

TEST(Partition, StateByStageInF32) {
  const toy::Toy toy = toy::make({});
  for (int stage = 0; stage <= 3; ++stage) {
    const Partitioned p = toy::partitioned(toy, toy::layout(8, stage, 2));
    // wte has 600 elements, 75 a rank.
    const BufferRole used = stage == 3 ? BufferRole::parameter_piece : BufferRole::parameter;
    const BufferRole moment = stage == 0 ? BufferRole::moment1 : BufferRole::moment1_piece;
    ASSERT_NE(find(p, used, wte), nullptr) << stage;
    EXPECT_EQ(find(p, used, wte)->elements, stage == 3 ? 75 : 600);
    EXPECT_EQ(find(p, moment, wte)->elements, stage == 0 ? 600 : 75);
    EXPECT_EQ(find(p, BufferRole::master, wte), nullptr);
    EXPECT_EQ(find(p, BufferRole::master_piece, wte), nullptr);
    EXPECT_EQ(p.sharded[wte].has_value(), stage == 3);
  }
}

TEST(Partition, SixteenBitsAddAMaster) {
  const toy::Toy toy = toy::make({}, DType::bf16);
  for (int stage = 0; stage <= 3; ++stage) {
    const Partitioned p = toy::partitioned(toy, toy::layout(8, stage, 2));
    const Buffer* master = find(p, stage == 0 ? BufferRole::master : BufferRole::master_piece, up0);
    ASSERT_NE(master, nullptr);
    EXPECT_EQ(master->type, DType::f32);
    EXPECT_EQ(master->elements, stage == 0 ? 240 : 30);
    EXPECT_EQ(find(p, stage == 3 ? BufferRole::parameter_piece : BufferRole::parameter, up0)->type, DType::bf16);
    // An update writes master, two moments, and the parameter as used.
    const Instruction& update = named(p.programs[0].sections.back(), "update block[0].up");
    EXPECT_EQ(update.outputs.size(), 4u);
    EXPECT_EQ(update.outputs[3].rank_stride.value, stage == 1 || stage == 2 ? 60 : 0);
  }
}

TEST(Partition, SmallParametersStayWholeInStage3) {
  const toy::Toy toy = toy::make({});
  LayoutSpec layout = toy::layout(4, 3, 4);
  layout.persist_below = Elements(100);
  const Partitioned p = toy::partitioned(toy, layout);
  EXPECT_FALSE(p.sharded[norm0].has_value());
  EXPECT_TRUE(p.sharded[up0].has_value());
  EXPECT_NE(find(p, BufferRole::parameter, norm0), nullptr);
  EXPECT_NE(find(p, BufferRole::moment1_piece, norm0), nullptr);
  // Three vectors to publish after the update.
  EXPECT_EQ(p.programs[0].sections.back().publications.size(), 3u);
}

TEST(Partition, OneRankHasNoCollective) {
  const toy::Toy toy = toy::make({});
  const Partitioned p = toy::partitioned(toy, toy::layout(1, 3, 4));
  EXPECT_EQ(p.zero_stage, 0);
  for (const Program& program : p.programs) {
    for (const Section& section : program.sections) {
      EXPECT_TRUE(section.reductions.empty());
      EXPECT_TRUE(section.publications.empty());
      for (const Instruction& i : section.instructions) EXPECT_EQ(std::get_if<Collective>(&i.op), nullptr) << i.name;
    }
  }
}

TEST(Partition, SectionsPeelTheFirstAndTheLastMicroBatch) {
  const toy::Toy toy = toy::make({});
  const std::map<std::int64_t, std::vector<std::pair<std::string, std::int64_t>>> expected = {
      {8, {{"only", 1}}}, {4, {{"first", 1}, {"last", 1}}}, {2, {{"first", 1}, {"middle", 2}, {"last", 1}}}};
  for (const auto& [micro_batch, sections] : expected) {
    const Partitioned p = toy::partitioned(toy, toy::layout(2, 0, micro_batch));
    for (const Program& program : p.programs) {
      ASSERT_EQ(program.sections.size(), sections.size());
      std::int64_t next = 0;
      for (std::size_t s = 0; s < sections.size(); ++s) {
        EXPECT_EQ(program.sections[s].name, sections[s].first);
        EXPECT_EQ(program.sections[s].iterations, sections[s].second);
        EXPECT_EQ(program.sections[s].first_micro_batch, next);
        next += program.sections[s].iterations;
      }
    }
  }
}

TEST(Partition, ReduceOnceAccumulatesThenReducesInTheLast) {
  const toy::Toy toy = toy::make({});
  const Partitioned p = toy::partitioned(toy, toy::layout(2, 2, 2));
  const std::vector<Section>& sections = p.programs[0].sections;
  ASSERT_EQ(sections.size(), 3u);
  const auto accumulates = [](const Section& section) { return std::get<ProductSpec>(std::get<KernelSpec>(named(section, "block[1].up.dw").op)).outputs[0].accumulate; };
  EXPECT_FALSE(accumulates(sections[0]));
  EXPECT_TRUE(accumulates(sections[1]));
  EXPECT_TRUE(accumulates(sections[2]));
  // One accumulator for all sections.
  EXPECT_EQ(named(sections[0], "block[1].up.dw").outputs[0].buffer, named(sections[2], "block[1].up.dw").outputs[0].buffer);
  EXPECT_TRUE(std::get<LookupBackwardSpec>(std::get<KernelSpec>(named(sections[1], "embed.dw").op)).accumulate);
  // The classifier cannot accumulate: a fresh gradient, then a map that does.
  const Instruction &head = named(sections[1], "head"), &add = named(sections[1], "accumulate grad wte");
  EXPECT_EQ(add.inputs[0].buffer, head.outputs[2].buffer);
  EXPECT_EQ(add.outputs[0].buffer, named(sections[0], "head").outputs[2].buffer);
  EXPECT_TRUE(std::get<MapSpec>(std::get<KernelSpec>(add.op)).outputs[0].accumulate);
  // Segments are added once, in the last section, into the table's own, which is then reduced.
  EXPECT_TRUE(sections[0].reductions.empty());
  EXPECT_TRUE(sections[1].reductions.empty());
  EXPECT_EQ(sections[2].reductions.size(), 10u);
  const Instruction& sum = named(sections[2], "sum of segments of grad wte");
  EXPECT_EQ(sum.outputs[0].buffer, named(sections[0], "embed.dw").outputs[0].buffer);
  EXPECT_EQ(sections[2].reductions.back().from.buffer, sum.outputs[0].buffer);
  EXPECT_EQ(sections[2].instructions[sections[2].reductions.back().after].name, sum.name);
}

TEST(Partition, ReduceEachReducesEveryMicroBatchAndAddsTheSums) {
  toy::Toy toy = toy::make({});
  toy.train.reduce = Reduce::each;
  for (int stage : {0, 1, 2, 3}) {
    const Partitioned p = toy::partitioned(toy, toy::layout(2, stage, 2));
    const std::vector<Section>& sections = p.programs[0].sections;
    const BufferId sum = sections[0].reductions.back().to.buffer;
    for (std::size_t s = 0; s < sections.size(); ++s) {
      ASSERT_EQ(sections[s].reductions.size(), 10u) << stage;
      const Reduction& last = sections[s].reductions.back();
      EXPECT_EQ(last.finish.has_value(), s > 0) << stage;
      if (last.finish) EXPECT_EQ(last.finish->outputs[0].buffer, sum);
      if (stage == 0) EXPECT_EQ(last.from.buffer, last.to.buffer);
      EXPECT_EQ(named(sections[s], "sum of segments of grad wte").outputs[0].buffer, last.from.buffer);
    }
    EXPECT_EQ(named(sections[2], "update wte").inputs[0].buffer, sum);
    EXPECT_EQ(p.buffer(sum).elements, stage == 0 ? 600 : 300);
  }
}

TEST(Partition, ReduceEachOnOneRankAddsSegmentsFirst) {
  toy::Toy toy = toy::make({});
  toy.train.reduce = Reduce::each;
  const Partitioned p = toy::partitioned(toy, toy::layout(1, 0, 4));
  const std::vector<Section>& sections = p.programs[0].sections;
  // S = g(0) at first; later the segments' sum of the micro-batch is added to it.
  const BufferId sum = named(sections[0], "sum of segments of grad wte").outputs[0].buffer;
  EXPECT_EQ(named(sections[1], "accumulate grad wte").outputs[0].buffer, sum);
  EXPECT_NE(named(sections[1], "sum of segments of grad wte").outputs[0].buffer, sum);
  EXPECT_EQ(named(sections[2], "update wte").inputs[0].buffer, sum);
}

TEST(Partition, PaddingOfGradientsIsZeroed) {
  const toy::Toy toy = toy::make({});
  const Partitioned p = toy::partitioned(toy, toy::layout(8, 2, 2));
  // norm has 12 elements in 8 pieces of 2: 4 of padding. wte (600) and up (240) divide.
  const Section& only = p.programs[0].sections[0];
  EXPECT_EQ(count(only, "map") - 3 - 3, 3 + 1);  // norms forward and backward; their padding; the sum of wte's segments
  const Instruction &zero = named(only, "padding of grad block[0].norm"), &write = named(only, "block[0].norm.dx");
  EXPECT_EQ(zero.outputs[0].buffer, write.outputs[1].buffer);
  EXPECT_EQ(zero.outputs[0].offset.value, 48);
  EXPECT_EQ(zero.outputs[0].bytes.value, 16);
  EXPECT_EQ(write.outputs[1].bytes.value, 48);
}

TEST(Partition, NormIsOneRowARankOrAllRows) {
  const toy::Toy toy = toy::make({});
  for (int stage : {0, 1}) {
    const Partitioned p = toy::partitioned(toy, toy::layout(8, stage, 2));
    const Section& only = p.programs[0].sections[0];
    EXPECT_EQ(count(only, "square_sum"), 10);
    const Instruction& squares = named(only, "squares of block[0].up");
    const SquareSumSpec& spec = std::get<SquareSumSpec>(std::get<KernelSpec>(squares.op));
    EXPECT_EQ(spec.pieces, stage == 0 ? 8 : 1);
    EXPECT_EQ(spec.elements, 30);
    EXPECT_EQ(spec.column, 2);
    EXPECT_EQ(spec.table_stride, 10);
    EXPECT_EQ(squares.outputs[0].rank_stride.value, stage == 0 ? 0 : 80);
    const auto gather = std::find_if(only.instructions.begin(), only.instructions.end(), [](const Instruction& i) { return std::holds_alternative<Collective>(i.op); });
    ASSERT_NE(gather, only.instructions.end());
    EXPECT_EQ(std::get<Collective>(gather->op).parts.size(), stage == 0 ? 1u : 2u);
    EXPECT_EQ((gather + 1)->name, "control");
    const ControlSpec& control = std::get<ControlSpec>(std::get<KernelSpec>((gather + 1)->op));
    EXPECT_EQ(control.pieces, 8);
    EXPECT_EQ(control.parameters, 10);
    EXPECT_EQ(control.micro_batches, 1);
  }
}

TEST(Partition, EvaluationKeepsNoTrainingState) {
  const toy::Toy toy = toy::make({});
  const Partitioned p = toy::partitioned(toy, toy::layout(2, 1, 4));
  const Program& evaluate = p.programs[1];
  EXPECT_EQ(evaluate.name, "evaluate");
  for (const Section& section : evaluate.sections) {
    for (const Instruction& i : section.instructions) {
      for (const Use& use : i.outputs) EXPECT_FALSE(p.buffer(use.buffer).persistent) << i.name;
    }
    EXPECT_TRUE(std::get<ReadBatchSpec>(std::get<KernelSpec>(named(section, "read batch").op)).validation);
  }
  EXPECT_EQ(evaluate.sections.back().instructions.back().name, "gather loss");
  EXPECT_TRUE(std::get<AddLossSpec>(std::get<KernelSpec>(named(evaluate.sections[0], "add loss").op)).first);
  EXPECT_FALSE(std::get<AddLossSpec>(std::get<KernelSpec>(named(evaluate.sections[1], "add loss").op)).first);
}

}  // namespace
}  // namespace dsc::local
