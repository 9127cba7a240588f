// The index arithmetic of the export map, against values worked out by hand.
#include "runtime/exchange/stored_layout.h"

#include <gtest/gtest.h>

#include <numeric>

namespace dsc {
namespace {

// Axes a (2), b (3), c (2); parameters p [a, b], q [a, b, c].
Model model() {
  Model m;
  m.axes = {{"a", 2, {}, false, {}}, {"b", 3, {}, false, {}}, {"c", 2, {}, false, {}}};
  m.parameters = {{"p", {AxisId(0), AxisId(1)}, InitKind::zeros, 0, true, true, {}},
                  {"q", {AxisId(0), AxisId(1), AxisId(2)}, InitKind::zeros, 0, true, true, {}}};
  return m;
}

ExportPiece piece(std::size_t parameter, std::vector<int> permutation, std::vector<std::int64_t> shape, int axis = -1,
                  std::int64_t index = 0) {
  return {ParameterId(parameter), std::move(permutation), std::move(shape), axis, index};
}

std::vector<float> count_from(float first, std::size_t n) {
  std::vector<float> values(n);
  std::iota(values.begin(), values.end(), first);
  return values;
}

void expect_stored(const ExportTensor& tensor, const std::vector<std::vector<float>>& parameters,
                   const std::vector<std::int64_t>& shape, const std::vector<float>& expected) {
  Model m = model();
  EXPECT_EQ(stored_shape(tensor), shape);
  std::vector<float> stored(expected.size(), -1);
  for (std::size_t p = 0; p < tensor.pieces.size(); ++p) copy_to_stored(m, tensor, p, parameters[p], stored);
  EXPECT_EQ(stored, expected);
  for (std::size_t p = 0; p < tensor.pieces.size(); ++p) {
    std::vector<float> back(parameters[p].size(), -1);
    copy_from_stored(m, tensor, p, expected, back);
    for (std::size_t i = 0; i < back.size(); ++i)
      EXPECT_TRUE(back[i] == parameters[p][i] || (tensor.pieces[p].indexed_axis >= 0 && back[i] == -1)) << p << " " << i;
  }
}

TEST(StoredLayout, AsDeclared) {
  expect_stored({{"t"}, {piece(0, {0, 1}, {2, 3})}, 0}, {count_from(0, 6)}, {2, 3}, {0, 1, 2, 3, 4, 5});
}

TEST(StoredLayout, Transposed) {
  expect_stored({{"t"}, {piece(0, {1, 0}, {3, 2})}, 0}, {count_from(0, 6)}, {3, 2}, {0, 3, 1, 4, 2, 5});
}

TEST(StoredLayout, MergedAndPermuted) {
  // q [a, b, c] as [c, (b a)]
  expect_stored({{"t"}, {piece(1, {2, 1, 0}, {2, 6})}, 0}, {count_from(0, 12)}, {2, 6}, {0, 6, 2, 8, 4, 10, 1, 7, 3, 9, 5, 11});
}

TEST(StoredLayout, JoinedAlongTheLastDim) {
  // GPT-2's c_attn: concat(p, q', p, dim: 1)
  expect_stored({{"t"}, {piece(0, {0, 1}, {2, 3}), piece(1, {0, 1, 2}, {2, 6}), piece(0, {0, 1}, {2, 3})}, 1},
                {count_from(0, 6), count_from(100, 12), count_from(0, 6)}, {2, 12},
                {0, 1, 2, 100, 101, 102, 103, 104, 105, 0, 1, 2, 3, 4, 5, 106, 107, 108, 109, 110, 111, 3, 4, 5});
}

TEST(StoredLayout, JoinedAlongTheFirstDim) {
  expect_stored({{"t"}, {piece(0, {1, 0}, {3, 2}), piece(0, {1, 0}, {3, 2})}, 0}, {count_from(0, 6), count_from(10, 6)}, {6, 2},
                {0, 3, 1, 4, 2, 5, 10, 13, 11, 14, 12, 15});
}

TEST(StoredLayout, OneIndexOfAnAxis) {
  // q at b = 1, as [c, a]
  expect_stored({{"t"}, {piece(1, {2, 0}, {2, 2}, 1, 1)}, 0}, {count_from(0, 12)}, {2, 2}, {2, 8, 3, 9});
  expect_stored({{"t"}, {piece(1, {1, 2}, {6}, 0, 1)}, 0}, {count_from(0, 12)}, {6}, {6, 7, 8, 9, 10, 11});
}

TEST(StoredLayout, ShapesAsText) {
  EXPECT_EQ(shape_text({}), "[]");
  EXPECT_EQ(shape_text({768}), "[768]");
  EXPECT_EQ(shape_text({768, 2304}), "[768, 2304]");
}

}  // namespace
}  // namespace dsc
