// The classifier head and its loss, chunked over rows: logits of a chunk, softmax in place, then dh and dW of the chunk.
// Packed forms of W are made with the first chunk and serve all of them.
#include <algorithm>
#include <cstring>

#include "compiler/support/kernel_shape.h"
#include "kernels/cpu/convert.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/product.h"
#include "kernels/cpu/softmax_loss.h"

namespace dsc::cpu {
namespace {

using std::int64_t;

class Classifier final : public Kernel {
 public:
  Classifier(const ClassifierSpec& spec, const Bindings& bindings, const Target& target);
  void run(int phase, int tile, int slot) const override;

 private:
  enum class Stage { pack_logits, logits, soften, pack_gradients, gradients, loss };
  struct Phase {
    Stage stage;
    int64_t chunk = 0;
    int64_t first = 0;  // of two products, the tiles of the first
  };
  struct Products {  // of one size of chunk
    Product logits;
    Product dh, dw_first, dw;
  };
  const Products& products(int64_t chunk) const { return products_[chunk + 1 == shape_.chunks && products_.size() > 1 ? 1 : 0]; }
  const Product& dw_of(int64_t chunk) const { return chunk == 0 ? products(chunk).dw_first : products(chunk).dw; }
  int64_t rows_of(int64_t chunk) const { return chunk + 1 == shape_.chunks ? shape_.last_rows : shape_.chunk_rows; }
  void soften(int64_t chunk, int tile) const;
  ProductOperands logits_operands(int64_t chunk) const;
  ProductOperands dh_operands(int64_t chunk) const;
  ProductOperands dw_operands(int64_t chunk) const;
  void add_phase(Stage stage, int64_t chunk, int64_t tiles, int64_t first = 0);

  ClassifierSpec spec_;
  ClassifierShape shape_;
  Scratch scratch_;
  bool bf16_;
  std::vector<Products> products_;  // of whole chunks, and of the last where it is shorter
  std::vector<Phase> plan_;
  std::vector<const void*> in_;
  std::vector<void*> out_;
  float* logits_;
  double* losses_;
  std::vector<void*> logits_out_;
  std::vector<std::vector<void*>> dh_out_;  // by chunk
  std::vector<void*> dw_out_;
};

Classifier::Classifier(const ClassifierSpec& spec, const Bindings& bindings, const Target& target)
    : spec_(spec), shape_(classifier_shape(spec, target)), scratch_(spec, bindings, target),
      bf16_(classifier_stores_bf16(spec, target)), in_(bindings.inputs), out_(bindings.outputs) {
  logits_ = reinterpret_cast<float*>(scratch_.shared + shape_.logits_offset);
  losses_ = reinterpret_cast<double*>(scratch_.shared + shape_.loss_offset);
  logits_out_ = {logits_};
  auto add_products = [&](int64_t rows) {
    products_.push_back({Product(classifier_logits(spec, rows, shape_), target), Product(classifier_dh(spec, rows, shape_, target), target),
                         Product(classifier_dw(spec, rows, true, shape_, target), target),
                         Product(classifier_dw(spec, rows, false, shape_, target), target)});
  };
  add_products(shape_.chunk_rows);
  if (shape_.last_rows != shape_.chunk_rows) add_products(shape_.last_rows);
  if (spec.backward) {
    for (int64_t chunk = 0; chunk < shape_.chunks; ++chunk)
      dh_out_.push_back({element(out_[1], spec.dh_type, chunk * shape_.chunk_rows * spec.width)});
    dw_out_ = {out_[2]};
  }
  for (int64_t chunk = 0; chunk < shape_.chunks; ++chunk) {
    const Products& p = products(chunk);
    // W is packed once, if the whole chunks and the last agree on how.
    auto keeps = [&](const ProductShape& now, const ProductShape& first) {
      return chunk > 0 && now.pack_b == first.pack_b && now.bf16x3 == first.bf16x3 && now.b_offset == first.b_offset;
    };
    const ProductShape& logits = p.logits.shape();
    const int64_t kept = keeps(logits, products_[0].logits.shape()) ? logits.pack_tiles - logits.a_pack_tiles : 0;
    if (logits.pack_tiles - kept > 0) add_phase(Stage::pack_logits, chunk, logits.pack_tiles - kept);
    add_phase(Stage::logits, chunk, logits.tiles);
    add_phase(Stage::soften, chunk, (rows_of(chunk) + shape_.rows_per_tile - 1) / shape_.rows_per_tile);
    if (!spec.backward) continue;
    const ProductShape& dh = p.dh.shape();
    const ProductShape& dw = dw_of(chunk).shape();
    const int64_t dh_kept = keeps(dh, products_[0].dh.shape()) ? dh.pack_tiles - dh.a_pack_tiles : 0;
    const int64_t dh_packs = dh.pack_tiles - dh_kept;
    if (dh_packs + dw.pack_tiles > 0) add_phase(Stage::pack_gradients, chunk, dh_packs + dw.pack_tiles, dh_packs);
    add_phase(Stage::gradients, chunk, dh.tiles + dw.tiles, dh.tiles);
  }
  add_phase(Stage::loss, 0, 1);
}

void Classifier::add_phase(Stage stage, int64_t chunk, int64_t tiles, int64_t first) {
  Phase phase;
  phase.stage = stage, phase.chunk = chunk, phase.first = first;
  plan_.push_back(phase);
  tiles_.push_back(static_cast<int>(tiles));
}

ProductOperands Classifier::logits_operands(int64_t chunk) const {
  ProductOperands operands;
  operands.a = element(in_[0], spec_.h_type, chunk * shape_.chunk_rows * spec_.width);
  operands.b = in_[1];
  operands.outputs = logits_out_.data();
  operands.shared = scratch_.shared + shape_.logits_work;
  return operands;
}

ProductOperands Classifier::dh_operands(int64_t chunk) const {
  ProductOperands operands;
  operands.a = logits_;
  operands.b = in_[1];
  operands.outputs = dh_out_[static_cast<std::size_t>(chunk)].data();
  operands.shared = scratch_.shared + shape_.dh_work;
  return operands;
}

ProductOperands Classifier::dw_operands(int64_t chunk) const {
  ProductOperands operands;
  operands.a = logits_;
  operands.b = element(in_[0], spec_.h_type, chunk * shape_.chunk_rows * spec_.width);
  operands.outputs = dw_out_.data();
  operands.shared = scratch_.shared + shape_.dw_work;
  return operands;
}

// Logits become dlogits, in f32 rounded to h_type, or in bf16 at the front of each row's place.
void Classifier::soften(int64_t chunk, int tile) const {
  const std::int32_t* targets = static_cast<const std::int32_t*>(in_[2]) + chunk * shape_.chunk_rows;
  double* losses = losses_ + chunk * shape_.chunk_rows;
  const float factor = spec_.backward ? static_cast<float>(*static_cast<const float*>(in_[3]) * spec_.scale * spec_.seed_factor) : 0;
  const int64_t end = std::min(rows_of(chunk), (tile + int64_t{1}) * shape_.rows_per_tile), n = spec_.entries;
  for (int64_t r = tile * shape_.rows_per_tile; r < end; ++r) {
    float* row = logits_ + r * shape_.logits_stride;
    losses[r] = 0;
    if (targets[r] < 0 || targets[r] >= n) {
      std::memset(row, 0, static_cast<std::size_t>(shape_.logits_stride) * 4);
      continue;
    }
    float sum = 0;
    losses[r] = soften_row(row, n, targets[r], &sum);
    if (!spec_.backward) continue;
    gradient_row(row, n, targets[r], sum, factor);
    if (bf16_) {
      // In place: each element is read before its bytes are written, a block at a time.
      alignas(64) float block[256];
      for (int64_t i = 0; i < n; i += 256) {
        const int64_t count = std::min<int64_t>(256, n - i);
        std::memcpy(block, row + i, static_cast<std::size_t>(count) * 4);
        store_run(DType::bf16, reinterpret_cast<std::uint16_t*>(row) + i, 1, count, block);
      }
    } else {
      round_run(spec_.h_type, row, row, n);
    }
  }
}

void Classifier::run(int index, int tile, int slot) const {
  const Phase& phase = plan_[static_cast<std::size_t>(index)];
  const int64_t chunk = phase.chunk;
  char* scratch = scratch_.slot(slot);
  switch (phase.stage) {
    case Stage::pack_logits: products(chunk).logits.pack(logits_operands(chunk), 0, tile); return;
    case Stage::logits: products(chunk).logits.compute(logits_operands(chunk), 0, tile, scratch); return;
    case Stage::soften: soften(chunk, tile); return;
    case Stage::pack_gradients:
      if (tile < phase.first) products(chunk).dh.pack(dh_operands(chunk), 0, tile);
      else dw_of(chunk).pack(dw_operands(chunk), 0, tile - phase.first);
      return;
    case Stage::gradients:
      if (tile < phase.first) products(chunk).dh.compute(dh_operands(chunk), 0, tile, scratch);
      else dw_of(chunk).compute(dw_operands(chunk), 0, tile - phase.first, scratch);
      return;
    case Stage::loss: {
      double sum = 0;
      for (int64_t r = 0; r < spec_.rows; ++r) sum += losses_[r];
      *static_cast<float*>(out_[0]) = static_cast<float>(spec_.scale * sum);
      return;
    }
  }
}

}  // namespace

KernelPtr make_classifier(const ClassifierSpec& spec, const Bindings& bindings, const Target& target) {
  return std::make_unique<Classifier>(spec, bindings, target);
}

}  // namespace dsc::cpu
