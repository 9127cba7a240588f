#include "compiler/partition/views.h"

#include <gtest/gtest.h>

namespace dsc::local {
namespace {

constexpr AxisId batch{0}, seq{1}, heads{2}, channel{3}, width{4}, half{5};
const Sizes sizes{{2, 8, 3, 4, 12, 6}};

Tensor tensor(std::vector<AxisId> axes) {
  Tensor made;
  made.name = "x";
  made.axes = std::move(axes);
  return made;
}

std::vector<std::int64_t> strides(const View& view) {
  std::vector<std::int64_t> list;
  for (const ViewDim& dim : view.dims) list.push_back(dim.stride);
  return list;
}

TEST(Views, StoredTensorIsRowMajor) {
  const View view = view_of(tensor({batch, seq, width}), sizes);
  EXPECT_EQ(strides(view), (std::vector<std::int64_t>{96, 12, 1}));
  EXPECT_TRUE(contiguous(view, {batch, seq, width}, sizes));
  EXPECT_FALSE(contiguous(view, {seq, batch, width}, sizes));
  EXPECT_EQ(collapsed_stride(view, {batch, seq}, sizes), 12);
  EXPECT_EQ(collapsed_stride(view, {seq, batch}, sizes), std::nullopt);
}

TEST(Views, UnmergeGivesEachFactorItsStride) {
  const Operand operand{TensorId(0), {{{seq}, {seq}, 0}, {{width}, {heads, channel}, 0}}};
  const View view = view_of(operand, tensor({seq, width}), sizes);
  EXPECT_EQ(strides(view), (std::vector<std::int64_t>{12, 4, 1}));
  EXPECT_EQ(collapsed_stride(view, {seq, heads, channel}, sizes), 1);
}

TEST(Views, SliceShiftsAndStaysInside) {
  const Operand operand{TensorId(0), {{{seq}, {seq}, 0}, {{width}, {half}, 6}}};
  const View view = view_of(operand, tensor({seq, width}), sizes);
  EXPECT_EQ(view.offset, 6);
  EXPECT_TRUE(view.full());
  EXPECT_EQ(collapsed_stride(view, {seq, half}, sizes), std::nullopt);
}

TEST(Views, OutsideIsAWindow) {
  // width read from half: the first six indices are before it, as in the gradient of a slice.
  const Operand operand{TensorId(0), {{{seq}, {seq}, 0}, {{half}, {width}, -6}}};
  const View view = view_of(operand, tensor({seq, half}), sizes);
  EXPECT_EQ(view.offset, -6);
  EXPECT_EQ(view.dims[1].window.lo, 6);
  EXPECT_EQ(view.dims[1].window.hi, 12);
  EXPECT_FALSE(view.full());
}

TEST(Views, CollapseMergesWhatEveryOperandAllows) {
  Loop loop;
  for (AxisId axis : {batch, seq, width}) loop.dims.push_back({sizes(axis), 0, false, -1});
  loop.operands.push_back(loop_operand(view_of(tensor({batch, seq, width}), sizes), {batch, seq, width}, sizes));
  loop.operands.push_back(loop_operand(view_of(tensor({width}), sizes), {batch, seq, width}, sizes));
  collapse(loop);
  ASSERT_EQ(loop.dims.size(), 2u);
  EXPECT_EQ(loop.dims[0].size, 16);
  EXPECT_EQ(loop.operands[0].strides, (std::vector<std::int64_t>{12, 1}));
  EXPECT_EQ(loop.operands[1].strides, (std::vector<std::int64_t>{0, 1}));
}

TEST(Views, CollapseKeepsPinnedDimsAndKindsApart) {
  Loop loop;
  loop.dims = {{2, 0, false, 0}, {8, 0, true, 1}, {12, 1, false, 2}};
  loop.operands.push_back(loop_operand(view_of(tensor({batch, seq, width}), sizes), {batch, seq, width}, sizes));
  collapse(loop);
  EXPECT_EQ(loop.dims.size(), 3u);
}

TEST(Views, CollapseScalesTheWindowOfTheMajorDim) {
  // batch runs over seq's elements from -1 on: a window on the major dim alone.
  Loop loop;
  loop.dims = {{8, 0, false, 0}, {12, 0, false, 1}};
  loop.operands.push_back({{12, 1}, {{1, 8}, {0, 12}}, -12});
  collapse(loop);
  ASSERT_EQ(loop.dims.size(), 1u);
  EXPECT_EQ(loop.operands[0].windows[0].lo, 12);
  EXPECT_EQ(loop.operands[0].windows[0].hi, 96);
}

}  // namespace
}  // namespace dsc::local
