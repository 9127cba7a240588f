// Attention in blocks of queries and keys (FlashAttention, Dao et al. 2022; FlashAttention-2, Dao 2023), all in f32.
#include "kernels/cpu/attend_parts.h"

#include <cstring>

namespace dsc::cpu {
namespace {

using namespace attention;

// Rows of one operand in f32: where they lie, or widened into scratch.
struct RowsInPlace {
  bool in_place = false;
  int64_t stride = 0;
  RowsInPlace(DType type, int64_t along, int64_t channel, int64_t size)
      : in_place(type == DType::f32 && channel == 1 && along >= size), stride(in_place ? along : size) {}
};

Gemm gemm(int64_t m, int64_t n, int64_t k, int64_t lda, int64_t ldb, int64_t ldc, bool a_transposed, bool accumulate) {
  GemmShape shape;
  shape.m = m, shape.n = n, shape.k = k, shape.lda = lda, shape.ldb = ldb, shape.ldc = ldc;
  shape.a_transposed = a_transposed, shape.accumulate = accumulate;
  return Gemm(shape);
}

// [keys, queries] = rows of `a` for each key times columns of `b` for each query.
BlockProduct score_product(const AttendSpec& spec, int64_t channels, int64_t a_stride) {
  const auto keys = [&](int64_t count, int64_t queries) { return gemm(count, queries, channels, a_stride, B, B, false, false); };
  return {{keys(B, B), keys(last_keys(spec), B), keys(H, B)}, keys(H, H), H * a_stride, H, H * B + H};
}

// [channels, queries] += columns of `a` for each key times rows of `b` for each key.
BlockProduct value_product(const AttendSpec& spec, int64_t channels, int64_t a_stride) {
  const auto keys = [&](int64_t count, int64_t queries) { return gemm(channels, queries, count, a_stride, B, B, true, true); };
  return {{keys(B, B), keys(last_keys(spec), B), keys(H, H)}, keys(B, H), 0, H, H};
}

// [keys, channels] += rows of `a` for each key times rows of `b` for each query.
BlockProduct key_product(const AttendSpec& spec, int64_t channels) {
  const auto keys = [&](int64_t count, int64_t queries) { return gemm(count, channels, queries, B, channels, channels, false, true); };
  return {{keys(B, B), keys(last_keys(spec), B), keys(H, B)}, keys(H, H), H * B + H, H * channels, H * channels};
}

// [queries, channels] += columns of `a` for each query times rows of `b` for each key.
BlockProduct query_product(const AttendSpec& spec, int64_t channels, int64_t b_stride) {
  const auto keys = [&](int64_t count, int64_t queries) { return gemm(queries, channels, count, B, b_stride, channels, true, true); };
  return {{keys(B, B), keys(last_keys(spec), B), keys(H, H)}, keys(B, H), H, 0, H * channels};
}

class Forward final : public Kernel {
 public:
  Forward(const AttendSpec& spec, const Bindings& bindings, const Target& target)
      : spec_(spec), shape_(attend_forward_shape(spec, target)), scratch_(AttendForwardSpec{spec}, bindings, target),
        sight_{spec.mask, spec.window, spec.length}, streams_(streams(spec, shape_)), k_rows_(spec.type, spec.k_along, spec.k_channel, spec.qk_size),
        v_rows_(spec.type, spec.v_along, spec.v_channel, spec.v_size), q_(bindings.inputs[0]), k_(bindings.inputs[1]),
        v_(bindings.inputs[2]), out_(bindings.outputs[0]), statistics_(static_cast<float*>(bindings.outputs[1])) {
    tiles_.push_back(static_cast<int>(shape_.tiles));
    scores_ = score_product(spec, spec.qk_size, k_rows_.stride);
    values_ = value_product(spec, spec.v_size, v_rows_.stride);
  }

  void run(int, int tile, int slot) const override {
    const int64_t qk = spec_.qk_size, vs = spec_.v_size;
    const Offsets at = offsets_of(spec_, tile / shape_.query_blocks);
    const int64_t q0 = tile % shape_.query_blocks * B, queries = std::min(B, spec_.length - q0);
    char* place = scratch_.slot(slot);
    float* qt = carve(place, qk * B);
    float* keys_wide = carve(place, B * qk);
    float* values_wide = carve(place, B * vs);
    float* scores = carve(place, B * B);
    float* result = carve(place, vs * B);
    float* highest = carve(place, B);
    float* sum = carve(place, B);
    float* rescale = carve(place, B);
    pack_f32(matrix(q_, spec_.type, spec_.q_offset + at.q + q0 * spec_.q_along, qk, queries, spec_.q_channel, spec_.q_along), qt, B);
    scale_all(qt, static_cast<float>(spec_.scale), qk * B);
    std::memset(result, 0, static_cast<std::size_t>(vs * B) * 4);
    for (int64_t q = 0; q < B; ++q) highest[q] = -infinity, sum[q] = 0;
    const int64_t end = sight_.end_block(q0);
    for (int64_t block = sight_.first_block(q0); block < end; ++block) {
      const int64_t k0 = block * B, keys = std::min(B, spec_.length - k0);
      const BlockPlace where = place_of(spec_, q0, k0);
      const int64_t k_at = spec_.k_offset + at.k + k0 * spec_.k_along, v_at = spec_.v_offset + at.v + k0 * spec_.v_along;
      const float* k_block = keys_wide;
      const float* v_block = values_wide;
      if (k_rows_.in_place) k_block = static_cast<const float*>(k_) + k_at;
      else pack_f32(matrix(k_, spec_.type, k_at, keys, qk, spec_.k_along, spec_.k_channel), keys_wide, qk);
      if (v_rows_.in_place) v_block = static_cast<const float*>(v_) + v_at;
      else pack_f32(matrix(v_, spec_.type, v_at, keys, vs, spec_.v_along, spec_.v_channel), values_wide, vs);
      scores_(where, k_block, qt, scores);
      sight_.hide(scores, q0, k0, keys);
      soften(scores, keys, highest, sum, rescale);
      for (int64_t d = 0; d < vs; ++d)
        for (int64_t q = 0; q < B; ++q) result[d * B + q] *= rescale[q];
      values_(where, v_block, scores, result);
    }
    finish_queries(spec_, at, q0, queries, streams_, result, values_wide, highest, sum, out_, statistics_);
  }

 private:
  AttendSpec spec_;
  AttendShape shape_;
  Scratch scratch_;
  Sight sight_;
  bool streams_;
  RowsInPlace k_rows_, v_rows_;
  const void *q_, *k_, *v_;
  void* out_;
  float* statistics_;
  BlockProduct scores_, values_;
};

class Backward final : public Kernel {
 public:
  Backward(const AttendBackwardSpec& spec, const Bindings& bindings, const Target& target)
      : spec_(spec.attend), gradient_type_(spec.gradient_type), shape_(attend_backward_shape(spec.attend, target)),
        scratch_(spec, bindings, target), sight_{spec_.mask, spec_.window, spec_.length}, streams_(streams(spec_, shape_)),
        k_rows_(spec_.type, spec_.k_along, spec_.k_channel, spec_.qk_size),
        v_rows_(spec_.type, spec_.v_along, spec_.v_channel, spec_.v_size), in_(bindings.inputs), out_(bindings.outputs) {
    tiles_.push_back(static_cast<int>(shape_.tiles));
    const int64_t qk = spec_.qk_size, v = spec_.v_size;
    scores_ = score_product(spec_, qk, k_rows_.stride);
    dscores_ = score_product(spec_, v, v_rows_.stride);
    dv_ = key_product(spec_, v);
    dk_ = key_product(spec_, qk);
    dq_ = query_product(spec_, qk, k_rows_.stride);
  }

  void run(int, int tile, int slot) const override {
    const int64_t qk = spec_.qk_size, vs = spec_.v_size, length = spec_.length;
    Places p;
    char* place = scratch_.slot(slot);
    float* keys_wide = carve(place, shape_.padded * qk);
    float* dk = carve(place, shape_.padded * qk);
    float* values_wide = carve(place, shape_.padded * vs);
    float* dv = carve(place, shape_.padded * vs);
    p.q_rows = carve(place, B * qk), p.qt = carve(place, B * qk);
    p.dout_rows = carve(place, B * vs), p.dout_t = carve(place, B * vs);
    p.dq = carve(place, B * qk);
    p.statistics = carve(place, B), p.delta = carve(place, B);
    p.scores = carve(place, B * B), p.dscores = carve(place, B * B);
    p.row = carve(place, std::max(vs, B));
    Offsets group;
    add_offsets(spec_, false, tile, group);
    const int64_t k_at = spec_.k_offset + group.k, v_at = spec_.v_offset + group.v;
    p.keys = keys_wide, p.values = values_wide;
    if (k_rows_.in_place) p.keys = static_cast<const float*>(in_[1]) + k_at;
    else pack_f32(matrix(in_[1], spec_.type, k_at, length, qk, spec_.k_along, spec_.k_channel), keys_wide, qk);
    if (v_rows_.in_place) p.values = static_cast<const float*>(in_[2]) + v_at;
    else pack_f32(matrix(in_[2], spec_.type, v_at, length, vs, spec_.v_along, spec_.v_channel), values_wide, vs);
    std::memset(dk, 0, static_cast<std::size_t>(shape_.padded * qk) * 4);
    std::memset(dv, 0, static_cast<std::size_t>(shape_.padded * vs) * 4);
    p.dk = dk, p.dv = dv;
    for (int64_t s = 0; s < shape_.shared; ++s) {
      Offsets at = group;
      add_offsets(spec_, true, s, at);
      for (int64_t q0 = 0; q0 < length; q0 += B) query_block(p, at, q0);
    }
    scale_all(dk, static_cast<float>(spec_.scale), shape_.padded * qk);
    for (int64_t k = 0; k < length; ++k) {
      store_result(streams_, gradient_type_, element(out_[1], gradient_type_, group.k + k * spec_.k_along), spec_.k_channel, qk, dk + k * qk);
      store_result(streams_, gradient_type_, element(out_[2], gradient_type_, group.v + k * spec_.v_along), spec_.v_channel, vs, dv + k * vs);
    }
    if (streams_) end_streaming();
  }

 private:
  struct Places {
    const float *keys, *values;
    float *dk, *dv, *q_rows, *qt, *dout_rows, *dout_t, *dq, *statistics, *delta, *scores, *dscores, *row;
  };

  void query_block(const Places& p, const Offsets& at, int64_t q0) const {
    const int64_t qk = spec_.qk_size, vs = spec_.v_size, queries = std::min(B, spec_.length - q0);
    load_queries(p, at, q0, queries);
    std::memset(p.dq, 0, static_cast<std::size_t>(B * qk) * 4);
    const int64_t end = sight_.end_block(q0);
    for (int64_t block = sight_.first_block(q0); block < end; ++block) {
      const int64_t k0 = block * B, keys = std::min(B, spec_.length - k0);
      const BlockPlace where = place_of(spec_, q0, k0);
      const float* k_block = p.keys + k0 * k_rows_.stride;
      const float* v_block = p.values + k0 * v_rows_.stride;
      float* dk = p.dk + k0 * qk;
      float* dv = p.dv + k0 * vs;
      scores_(where, k_block, p.qt, p.scores);
      sight_.hide(p.scores, q0, k0, keys);
      exp_rows(p.scores, keys, B, p.statistics, p.row);
      dv_(where, p.scores, p.dout_rows, dv);
      dscores_(where, v_block, p.dout_t, p.dscores);
      for (int64_t k = 0; k < keys; ++k)
        for (int64_t q = where == BlockPlace::diagonal && k >= H ? H : 0; q < B; ++q) p.dscores[k * B + q] = p.scores[k * B + q] * (p.dscores[k * B + q] - p.delta[q]);
      dk_(where, p.dscores, p.q_rows, dk);
      dq_(where, p.dscores, k_block, p.dq);
    }
    scale_all(p.dq, static_cast<float>(spec_.scale), queries * qk);
    for (int64_t q = 0; q < queries; ++q)
      store_result(streams_, gradient_type_, element(out_[0], gradient_type_, at.q + (q0 + q) * spec_.q_along), spec_.q_channel, qk, p.dq + q * qk);
  }

  // q and dout as rows and transposed, log-sum-exp and sum of dout * out by query. Rows past the end are zero, and their
  // log-sum-exp is infinite: their probabilities are zero.
  void load_queries(const Places& p, const Offsets& at, int64_t q0, int64_t queries) const {
    const int64_t qk = spec_.qk_size, vs = spec_.v_size;
    const int64_t q_at = spec_.q_offset + at.q + q0 * spec_.q_along, out_at = at.out + q0 * spec_.out_along;
    std::memset(p.q_rows, 0, static_cast<std::size_t>(B * qk) * 4);
    std::memset(p.dout_rows, 0, static_cast<std::size_t>(B * vs) * 4);
    pack_f32(matrix(in_[0], spec_.type, q_at, queries, qk, spec_.q_along, spec_.q_channel), p.q_rows, qk);
    pack_f32(matrix(p.q_rows, DType::f32, 0, qk, B, 1, qk), p.qt, B);
    scale_all(p.qt, static_cast<float>(spec_.scale), qk * B);
    pack_f32(matrix(in_[5], spec_.out_type, out_at, queries, vs, spec_.out_along, spec_.out_channel), p.dout_rows, vs);
    pack_f32(matrix(p.dout_rows, DType::f32, 0, vs, B, 1, vs), p.dout_t, B);
    const float* statistics = static_cast<const float*>(in_[4]) + at.index * spec_.length + q0;
    for (int64_t q = 0; q < B; ++q) {
      p.statistics[q] = q < queries ? statistics[q] : infinity;
      p.delta[q] = 0;
      if (q >= queries) continue;
      load_run(spec_.out_type, element(in_[3], spec_.out_type, out_at + q * spec_.out_along), spec_.out_channel, vs, p.row);
      const float* dout = p.dout_rows + q * vs;
      for (int64_t d = 0; d < vs; ++d) p.row[d] *= dout[d];
      p.delta[q] = lane_sum(p.row, vs);
    }
  }

  AttendSpec spec_;
  DType gradient_type_;
  AttendShape shape_;
  Scratch scratch_;
  Sight sight_;
  bool streams_;
  RowsInPlace k_rows_, v_rows_;
  std::vector<const void*> in_;
  std::vector<void*> out_;
  BlockProduct scores_, dscores_, dv_, dk_, dq_;
};

}  // namespace

KernelPtr make_attend_forward(const AttendForwardSpec& spec, const Bindings& bindings, const Target& target) {
  if (attend_forward_shape(spec.attend, target).bf16) return make_forward_bf16(spec, bindings, target);
  return std::make_unique<Forward>(spec.attend, bindings, target);
}

KernelPtr make_attend_backward(const AttendBackwardSpec& spec, const Bindings& bindings, const Target& target) {
  if (attend_backward_shape(spec.attend, target).bf16) return make_backward_bf16(spec, bindings, target);
  return std::make_unique<Backward>(spec, bindings, target);
}

}  // namespace dsc::cpu
