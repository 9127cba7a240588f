#include "compiler/graph/views.h"

#include <gtest/gtest.h>

#include "tests/support/model_builder.h"

namespace dsc {
namespace {

struct Views : ::testing::Test {
  testing::ModelBuilder b{"views", 2, 4};
  AxisId h = b.axis("h", 3), s = b.axis("s", 4), m = b.axis("m", 12), part = b.axis("part", 6), some = b.axis("some", 2);
  Model model = b.finish(b.constant(0));
};

TEST_F(Views, StridesFollowTheStorage) {
  auto strides = strides_of(model, identity_view({h, s, some}));
  ASSERT_EQ(strides.size(), 3u);
  EXPECT_EQ(strides[0].stride, 8);
  EXPECT_EQ(strides[1].stride, 2);
  EXPECT_EQ(strides[2].stride, 1);
  EXPECT_TRUE(collapses(model, strides, {h, s}));
  EXPECT_TRUE(collapses(model, strides, {h, s, some}));
  EXPECT_FALSE(collapses(model, strides, {h, some}));
  EXPECT_FALSE(collapses(model, strides, {s, h}));
  EXPECT_FALSE(collapses(model, strides, {m}));
}

TEST_F(Views, AMergeOfAnUnmergeIsTheWhole) {
  std::vector<ViewGroup> split = {{{m}, {h, s}, 0}};
  auto back = compose(model, split, {{{h, s}, {m}, 0}});
  ASSERT_TRUE(back);
  EXPECT_TRUE(is_contiguous(model, *back, {m}));
}

TEST_F(Views, SlicesOfSlicesAddUp) {
  auto twice = compose(model, {{{m}, {part}, 3}}, {{{part}, {some}, 2}});
  ASSERT_TRUE(twice);
  EXPECT_EQ((*twice)[0].offset, 5);
  EXPECT_TRUE(in_range(model, *twice));
  EXPECT_FALSE(is_contiguous(model, *twice, {some}));
  // The slice of the major one of merged axes is one range.
  auto major = compose(model, {{{m}, {h, s}, 0}}, {{{h}, {some}, 1}, {{s}, {s}, 0}});
  ASSERT_TRUE(major);
  EXPECT_EQ((*major)[0].offset, 4);
  // Of the minor one it is not.
  EXPECT_FALSE(compose(model, {{{m}, {h, s}, 0}}, {{{h}, {h}, 0}, {{s}, {some}, 1}}));
}

TEST_F(Views, PaddingOfASliceIsNoView) {
  EXPECT_FALSE(compose(model, {{{m}, {part}, 3}}, {{{part}, {m}, -3}}));
  auto padded = compose(model, identity_view({part}), {{{part}, {m}, -3}});
  ASSERT_TRUE(padded);
  EXPECT_FALSE(in_range(model, *padded));
}

TEST_F(Views, AMergeJoinsNeighboursOnly) {
  auto joined = compose(model, identity_view({h, s, some}), {{{h, s}, {m}, 0}, {{some}, {some}, 0}});
  ASSERT_TRUE(joined);
  EXPECT_EQ(view_axes(*joined), (AxisList{m, some}));
  EXPECT_FALSE(compose(model, identity_view({h, some, s}), {{{h, s}, {m}, 0}, {{some}, {some}, 0}}));
}

}  // namespace
}  // namespace dsc
