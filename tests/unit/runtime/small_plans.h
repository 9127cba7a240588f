// Plans built by hand for tests of the runtime: f32 buffers one after another in the arena, maps and collectives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "compiler/plan/plan.h"

namespace dsc_test {

struct SmallPlan {
  dsc::Plan plan;

  // One mesh axis "data" of `ranks` ranks, or several.
  explicit SmallPlan(const std::vector<std::int64_t>& mesh);

  dsc::BufferId buffer(const std::string& name, std::int64_t elements, dsc::DType type = dsc::DType::f32);
  // A whole buffer; or the data rank's own piece of `elements` of it.
  dsc::BufferUse whole(dsc::BufferId id) const;
  dsc::BufferUse piece(dsc::BufferId id, std::int64_t elements) const;

  // out[i] = a[i] * factor + term over `rows` rows of `width` elements; the rows are what the kernel may cut into tiles. Its
  // scratch is a buffer of its own.
  dsc::Instruction scale(const std::string& name, dsc::BufferUse a, dsc::BufferUse out, std::int64_t rows, std::int64_t width,
                         double factor, double term);
  dsc::Instruction read(const std::string& name, dsc::BufferUse tokens, dsc::BufferUse targets, std::int64_t rows,
                        std::int64_t sequence) const;
  dsc::Instruction collective(const std::string& name, dsc::CollectiveKind kind, dsc::BufferUse from, dsc::BufferUse to,
                              std::int64_t piece_elements, bool wire_bf16 = false) const;

  // Gives the arena its size: call it when all buffers are there.
  void finish();
};

// Zeroed arenas of a plan, on the heap.
class TestArenas {
 public:
  explicit TestArenas(const dsc::Plan& plan);
  std::vector<std::byte*> bases() const { return bases_; }
  float* floats(const dsc::Plan& plan, dsc::BufferId id, std::size_t rank) const;
  // All bytes of all arenas.
  const std::vector<std::vector<std::byte>>& bytes() const { return memory_; }

 private:
  std::vector<std::vector<std::byte>> memory_;
  std::vector<std::byte*> bases_;
};

}  // namespace dsc_test
