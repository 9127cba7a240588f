// A plan in, what people ask of it out: memory by class at the peak, collectives, parameters, FLOPs, what each `auto`
// became. Views only: every number is read off the plan. Text for a terminal (text.cpp), JSON for programs (json.cpp).
#pragma once

#include <array>
#include <string>
#include <vector>

#include "compiler/plan/plan.h"
#include "compiler/support/source.h"

namespace dsc {

struct PeakBuffer {
  std::string name;
  Bytes bytes{0};  // aligned
  BufferClass cls = BufferClass::workspace;
  std::string source;  // "model.dsm:41:9"; empty where nothing in the file made it
};

struct RankClass {
  std::vector<std::int64_t> ranks;
  Bytes device_arena{0}, host_arena{0}, storage{0}, lower_bound{0}, persistent{0};
  std::array<Bytes, 6> by_class{};  // by BufferClass, at the instant of the peak
  Bytes unused{0};                  // arena less the six
  std::string peak_program, peak_instruction;
  std::vector<PeakBuffer> peak_buffers;  // live there, largest first
};

struct CollectiveLine {
  std::string op, axis, cause;
  std::int64_t count = 0;        // a step
  Bytes bytes_per_rank{0};       // the full tensors' bytes, summed over a step
};

struct Explanation {
  std::string layout, target;
  std::int64_t world_size = 1;
  std::vector<MeshAxis> mesh;
  std::int64_t parameters = 0;
  double flops_per_step = 0;
  std::vector<RankClass> rank_classes;
  std::vector<CollectiveLine> collectives;
  std::vector<AutoChoice> autos;
};

Explanation explain(const Plan& plan);

// The object (or, of several, the array) that `--json` prints, indented by two.
std::string to_json(const std::vector<Explanation>& explanations, bool as_array);
std::string to_text(const Explanation& explanation);

}  // namespace dsc
