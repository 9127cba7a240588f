// Attention in blocks (attend.cpp) with products of bf16 and f32 accumulation: keys and values are read as they are, the
// probabilities and their gradient are rounded to bf16 where a product reads them. Softmax and its sums are in f32.
//
// A product reads one operand as rows and the other by pairs along the contraction (gemm.h), so each block is packed as its
// product wants it: "rows" [i][k], "pairs" [k / 2][j][k % 2].
#include <cstring>

#include "kernels/cpu/attend_parts.h"

namespace dsc::cpu::attention {
namespace {

using u16 = std::uint16_t;

Gemm gemm(int64_t m, int64_t n, int64_t k, int64_t lda, int64_t ldb, int64_t ldc, bool accumulate) {
  GemmShape shape;
  shape.type = DType::bf16;
  shape.m = m, shape.n = n, shape.k = k, shape.lda = lda, shape.ldb = ldb, shape.ldc = ldc;
  shape.accumulate = accumulate;
  return Gemm(shape);
}

constexpr int64_t even(int64_t count) { return (count + 1) / 2 * 2; }

// [keys, queries] = rows of `a` for each key times pairs of channels of `b` for each query.
BlockProduct score_product(const AttendSpec& spec, int64_t channels, int64_t a_stride) {
  const auto keys = [&](int64_t count, int64_t queries) { return gemm(count, queries, channels, a_stride, B, B, false); };
  return {{keys(B, B), keys(last_keys(spec), B), keys(H, B)}, keys(H, H), H * a_stride, 2 * H, H * B + H};
}

// [channels, queries] += `a` for each channel along keys times pairs of keys of `b` for each query.
BlockProduct query_product(const AttendSpec& spec, int64_t channels, int64_t a_stride) {
  const auto keys = [&](int64_t count, int64_t queries) { return gemm(channels, queries, even(count), a_stride, B, B, true); };
  return {{keys(B, B), keys(last_keys(spec), B), keys(H, H)}, keys(B, H), 0, 2 * H, H};
}

// [keys, channels] += rows of `a` for each key along queries times pairs of queries of `b` for each channel.
BlockProduct key_product(const AttendSpec& spec, int64_t channels) {
  const auto keys = [&](int64_t count, int64_t queries) { return gemm(count, channels, queries, B, channels, channels, true); };
  return {{keys(B, B), keys(last_keys(spec), B), keys(H, B)}, keys(H, H), H * B + H, H * channels, H * channels};
}

const u16* at_bf16(const void* base, int64_t offset) { return static_cast<const u16*>(base) + offset; }

class Forward final : public Kernel {
 public:
  Forward(const AttendSpec& spec, const Bindings& bindings, const Target& target)
      : spec_(spec), shape_(attend_forward_shape(spec, target)), scratch_(AttendForwardSpec{spec}, bindings, target),
        sight_{spec.mask, spec.window, spec.length}, streams_(streams(spec, shape_)), q_(bindings.inputs[0]), k_(bindings.inputs[1]), v_(bindings.inputs[2]),
        out_(bindings.outputs[0]), statistics_(static_cast<float*>(bindings.outputs[1])) {
    tiles_.push_back(static_cast<int>(shape_.tiles));
    scores_ = score_product(spec, spec.qk_size, shape_.k_rows ? spec.k_along : spec.qk_size);
    values_ = query_product(spec, spec.v_size, B);
  }

  void run(int, int tile, int slot) const override {
    const int64_t qk = spec_.qk_size, vs = spec_.v_size;
    const Offsets at = offsets_of(spec_, tile / shape_.query_blocks);
    const int64_t q0 = tile % shape_.query_blocks * B, queries = std::min(B, spec_.length - q0);
    char* place = scratch_.slot(slot);
    u16* q_pairs = carve<u16>(place, qk * B);
    u16* k_rows = shape_.k_rows ? nullptr : carve<u16>(place, B * qk);
    u16* v_columns = carve<u16>(place, vs * B);
    u16* p_pairs = carve<u16>(place, B * B);
    float* scores = carve(place, B * B);
    float* result = carve(place, vs * B);
    float* rows = carve(place, B * vs);
    float* highest = carve(place, B);
    float* sum = carve(place, B);
    float* rescale = carve(place, B);
    pack_bf16_pairs(matrix(q_, DType::bf16, spec_.q_offset + at.q + q0 * spec_.q_along, qk, queries, spec_.q_channel, spec_.q_along), q_pairs, B);
    std::memset(result, 0, static_cast<std::size_t>(vs * B) * 4);
    for (int64_t q = 0; q < B; ++q) highest[q] = -infinity, sum[q] = 0;
    const int64_t end = sight_.end_block(q0);
    for (int64_t block = sight_.first_block(q0); block < end; ++block) {
      const int64_t k0 = block * B, keys = std::min(B, spec_.length - k0);
      const BlockPlace where = place_of(spec_, q0, k0);
      const int64_t k_at = spec_.k_offset + at.k + k0 * spec_.k_along, v_at = spec_.v_offset + at.v + k0 * spec_.v_along;
      if (k_rows != nullptr) pack_bf16(matrix(k_, DType::bf16, k_at, keys, qk, spec_.k_along, spec_.k_channel), k_rows, qk);
      pack_bf16(matrix(v_, DType::bf16, v_at, vs, keys, spec_.v_channel, spec_.v_along), v_columns, B);
      scores_(where, k_rows != nullptr ? k_rows : at_bf16(k_, k_at), q_pairs, scores);
      scale_all(scores, static_cast<float>(spec_.scale), keys * B);
      sight_.hide(scores, q0, k0, keys);
      soften(scores, keys, highest, sum, rescale);
      narrow_pairs(scores, keys, B, p_pairs);
      for (int64_t d = 0; d < vs; ++d)
        for (int64_t q = 0; q < B; ++q) result[d * B + q] *= rescale[q];
      values_(where, v_columns, p_pairs, result);
    }
    finish_queries(spec_, at, q0, queries, streams_, result, rows, highest, sum, out_, statistics_);
  }

 private:
  AttendSpec spec_;
  AttendShape shape_;
  Scratch scratch_;
  Sight sight_;
  bool streams_;
  const void *q_, *k_, *v_;
  void* out_;
  float* statistics_;
  BlockProduct scores_, values_;
};

class Backward final : public Kernel {
 public:
  Backward(const AttendBackwardSpec& spec, const Bindings& bindings, const Target& target)
      : spec_(spec.attend), gradient_type_(spec.gradient_type), shape_(attend_backward_shape(spec.attend, target)),
        scratch_(spec, bindings, target), sight_{spec_.mask, spec_.window, spec_.length}, streams_(streams(spec_, shape_)), in_(bindings.inputs), out_(bindings.outputs) {
    tiles_.push_back(static_cast<int>(shape_.tiles));
    const int64_t qk = spec_.qk_size, v = spec_.v_size;
    scores_ = score_product(spec_, qk, k_stride());
    dscores_ = score_product(spec_, v, v_stride());
    dv_ = key_product(spec_, v);
    dk_ = key_product(spec_, qk);
    dq_ = query_product(spec_, qk, shape_.padded);
  }

  void run(int, int tile, int slot) const override {
    const int64_t qk = spec_.qk_size, vs = spec_.v_size, length = spec_.length;
    Places p = places(scratch_.slot(slot));
    Offsets group;
    add_offsets(spec_, false, tile, group);
    const int64_t k_at = spec_.k_offset + group.k, v_at = spec_.v_offset + group.v;
    p.keys = shape_.k_rows ? at_bf16(in_[1], k_at) : p.k_rows;
    p.values = shape_.v_rows ? at_bf16(in_[2], v_at) : p.v_rows;
    if (!shape_.k_rows) pack_bf16(matrix(in_[1], DType::bf16, k_at, length, qk, spec_.k_along, spec_.k_channel), p.k_rows, qk);
    if (!shape_.v_rows) pack_bf16(matrix(in_[2], DType::bf16, v_at, length, vs, spec_.v_along, spec_.v_channel), p.v_rows, vs);
    pack_bf16(matrix(in_[1], DType::bf16, k_at, qk, length, spec_.k_channel, spec_.k_along), p.k_columns, shape_.padded);
    std::memset(p.dk, 0, static_cast<std::size_t>(shape_.padded * qk) * 4);
    std::memset(p.dv, 0, static_cast<std::size_t>(shape_.padded * vs) * 4);
    for (int64_t s = 0; s < shape_.shared; ++s) {
      Offsets at = group;
      add_offsets(spec_, true, s, at);
      for (int64_t q0 = 0; q0 < length; q0 += B) query_block(p, at, q0);
    }
    scale_all(p.dk, static_cast<float>(spec_.scale), shape_.padded * qk);
    for (int64_t k = 0; k < length; ++k) {
      store_result(streams_, gradient_type_, element(out_[1], gradient_type_, group.k + k * spec_.k_along), spec_.k_channel, qk, p.dk + k * qk);
      store_result(streams_, gradient_type_, element(out_[2], gradient_type_, group.v + k * spec_.v_along), spec_.v_channel, vs, p.dv + k * vs);
    }
    if (streams_) end_streaming();
  }

 private:
  struct Places {
    const u16 *keys, *values;
    u16 *k_rows, *v_rows, *k_columns;
    float *dk, *dv;
    u16 *q_pairs, *q_rows_pairs, *dout_pairs, *dout_rows_pairs;  // by pairs along channels; along queries
    float *dq_columns, *dq, *statistics, *delta, *p, *dp;
    u16 *p_rows, *dp_rows, *dp_pairs;
    float *row, *other;
  };

  int64_t k_stride() const { return shape_.k_rows ? spec_.k_along : spec_.qk_size; }
  int64_t v_stride() const { return shape_.v_rows ? spec_.v_along : spec_.v_size; }

  Places places(char* place) const {
    const int64_t qk = spec_.qk_size, vs = spec_.v_size, channels = std::max(vs, B);
    Places p{};
    if (!shape_.k_rows) p.k_rows = carve<u16>(place, shape_.padded * qk);
    if (!shape_.v_rows) p.v_rows = carve<u16>(place, shape_.padded * vs);
    p.k_columns = carve<u16>(place, qk * shape_.padded);
    p.dk = carve(place, shape_.padded * qk), p.dv = carve(place, shape_.padded * vs);
    p.q_pairs = carve<u16>(place, B * qk), p.q_rows_pairs = carve<u16>(place, B * qk);
    p.dout_pairs = carve<u16>(place, B * vs), p.dout_rows_pairs = carve<u16>(place, B * vs);
    p.dq_columns = carve(place, B * qk), p.dq = carve(place, B * qk);
    p.statistics = carve(place, B), p.delta = carve(place, B);
    p.p = carve(place, B * B), p.dp = carve(place, B * B);
    p.p_rows = carve<u16>(place, B * B), p.dp_rows = carve<u16>(place, B * B), p.dp_pairs = carve<u16>(place, B * B);
    p.row = carve(place, channels), p.other = carve(place, channels);
    return p;
  }

  void query_block(const Places& p, const Offsets& at, int64_t q0) const {
    const int64_t qk = spec_.qk_size, vs = spec_.v_size, queries = std::min(B, spec_.length - q0);
    load_queries(p, at, q0, queries);
    std::memset(p.dq_columns, 0, static_cast<std::size_t>(B * qk) * 4);
    const int64_t end = sight_.end_block(q0);
    for (int64_t block = sight_.first_block(q0); block < end; ++block) {
      const int64_t k0 = block * B, keys = std::min(B, spec_.length - k0);
      const BlockPlace where = place_of(spec_, q0, k0);
      scores_(where, p.keys + k0 * k_stride(), p.q_pairs, p.p);
      scale_all(p.p, static_cast<float>(spec_.scale), keys * B);
      sight_.hide(p.p, q0, k0, keys);
      exp_rows(p.p, keys, B, p.statistics, p.row);
      store_run(DType::bf16, p.p_rows, 1, keys * B, p.p);
      dv_(where, p.p_rows, p.dout_rows_pairs, p.dv + k0 * vs);
      dscores_(where, p.values + k0 * v_stride(), p.dout_pairs, p.dp);
      for (int64_t k = 0; k < keys; ++k)
        for (int64_t q = where == BlockPlace::diagonal && k >= H ? H : 0; q < B; ++q) p.dp[k * B + q] = p.p[k * B + q] * (p.dp[k * B + q] - p.delta[q]);
      store_run(DType::bf16, p.dp_rows, 1, keys * B, p.dp);
      narrow_pairs(p.dp, keys, B, p.dp_pairs);
      dk_(where, p.dp_rows, p.q_rows_pairs, p.dk + k0 * qk);
      dq_(where, p.k_columns + k0, p.dp_pairs, p.dq_columns);
    }
    scale_all(p.dq_columns, static_cast<float>(spec_.scale), B * qk);
    pack_f32(matrix(p.dq_columns, DType::f32, 0, queries, qk, 1, B), p.dq, qk);
    for (int64_t q = 0; q < queries; ++q)
      store_result(streams_, gradient_type_, element(out_[0], gradient_type_, at.q + (q0 + q) * spec_.q_along), spec_.q_channel, qk, p.dq + q * qk);
  }

  // q and dout by pairs along channels and along queries, log-sum-exp and sum of dout * out by query. Rows past the end are zero,
  // and their log-sum-exp is infinite: their probabilities are zero.
  void load_queries(const Places& p, const Offsets& at, int64_t q0, int64_t queries) const {
    const int64_t qk = spec_.qk_size, vs = spec_.v_size;
    const int64_t q_at = spec_.q_offset + at.q + q0 * spec_.q_along, out_at = at.out + q0 * spec_.out_along;
    if (queries < B) {
      std::memset(p.q_rows_pairs, 0, static_cast<std::size_t>(B * qk) * 2);
      std::memset(p.dout_rows_pairs, 0, static_cast<std::size_t>(B * vs) * 2);
    }
    pack_bf16_pairs(matrix(in_[0], DType::bf16, q_at, qk, queries, spec_.q_channel, spec_.q_along), p.q_pairs, B);
    pack_bf16_pairs(matrix(in_[0], DType::bf16, q_at, queries, qk, spec_.q_along, spec_.q_channel), p.q_rows_pairs, qk);
    pack_bf16_pairs(matrix(in_[5], DType::bf16, out_at, vs, queries, spec_.out_channel, spec_.out_along), p.dout_pairs, B);
    pack_bf16_pairs(matrix(in_[5], DType::bf16, out_at, queries, vs, spec_.out_along, spec_.out_channel), p.dout_rows_pairs, vs);
    const float* statistics = static_cast<const float*>(in_[4]) + at.index * spec_.length + q0;
    for (int64_t q = 0; q < B; ++q) {
      p.statistics[q] = q < queries ? statistics[q] : infinity;
      p.delta[q] = 0;
      if (q >= queries) continue;
      load_run(DType::bf16, element(in_[3], DType::bf16, out_at + q * spec_.out_along), spec_.out_channel, vs, p.row);
      load_run(DType::bf16, element(in_[5], DType::bf16, out_at + q * spec_.out_along), spec_.out_channel, vs, p.other);
      for (int64_t d = 0; d < vs; ++d) p.row[d] *= p.other[d];
      p.delta[q] = lane_sum(p.row, vs);
    }
  }

  AttendSpec spec_;
  DType gradient_type_;
  AttendShape shape_;
  Scratch scratch_;
  Sight sight_;
  bool streams_;
  std::vector<const void*> in_;
  std::vector<void*> out_;
  BlockProduct scores_, dscores_, dv_, dk_, dq_;
};

}  // namespace

KernelPtr make_forward_bf16(const AttendForwardSpec& spec, const Bindings& bindings, const Target& target) {
  return std::make_unique<Forward>(spec.attend, bindings, target);
}

KernelPtr make_backward_bf16(const AttendBackwardSpec& spec, const Bindings& bindings, const Target& target) {
  return std::make_unique<Backward>(spec, bindings, target);
}

}  // namespace dsc::cpu::attention
