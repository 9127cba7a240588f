// Softmax cross entropy of one row, shared by cross_entropy and the classifier.
#pragma once

#include <cmath>

#include "kernels/cpu/vector_math.h"

namespace dsc::cpu {

// e[i] = exp(x[i] - max) of x = e, in place (room for padded(count)). Returns log-sum-exp - x[target]; *sum is the sum of e.
inline double soften_row(float* e, std::int64_t count, std::int64_t target, float* sum) {
  const float highest = lane_max(e, count), wanted = e[target];
  softmax_exp_run(e, highest, padded(count));
  *sum = lane_sum(e, count);
  return static_cast<double>(highest) + std::log(static_cast<double>(*sum)) - static_cast<double>(wanted);
}

// e becomes factor * (softmax - one-hot of target).
inline void gradient_row(float* e, std::int64_t count, std::int64_t target, float sum, float factor) {
  const float inverse = factor / sum;
  for (std::int64_t i = 0; i < count; ++i) e[i] *= inverse;
  e[target] -= factor;
}

}  // namespace dsc::cpu
