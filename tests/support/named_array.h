// Dense arrays with named axes, in double, and the loops over them: slow, plain, for the reference interpreters alone.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "compiler/support/dtype.h"
#include "compiler/support/model.h"

namespace dsc::testing {

using Index = std::vector<std::int64_t>;  // by AxisId: where along each axis

struct Array {
  std::vector<AxisId> axes;
  std::vector<std::int64_t> sizes;
  std::vector<double> data;

  Array() = default;
  Array(const Model& model, std::vector<AxisId> axes);
  std::int64_t offset(const Index& at) const;
  double& at(const Index& at) { return data[offset(at)]; }
  double at(const Index& at) const { return data[offset(at)]; }
};

// Every index of these axes, the last fastest; `at` is left as it was.
void for_each(const Model& model, const std::vector<AxisId>& axes, Index& at, const std::function<void()>& body);

// Nearest even to the type's numbers; f32 and f64 leave x alone, so that sums in double do not depend on their order.
double rounded(double x, DType type);

// Attention and its gradient (through the stored output, as kernels do), rotary positions.
void attend(const Model& model, const Op& op, const Array& q, const Array& k, const Array& v, Array& out);
void attend_gradient(const Model& model, const Op& op, const Array& q, const Array& k, const Array& v, const Array& out,
                     const Array& dout, Array& dq, Array& dk, Array& dv);
void rotate(const Model& model, const Op& op, const Array& x, bool inverse, Array& out);

}  // namespace dsc::testing
