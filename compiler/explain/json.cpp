#include <nlohmann/json.hpp>

#include "compiler/explain/explain.h"

namespace dsc {
namespace {

using Json = nlohmann::ordered_json;

Json json_of(const RankClass& c) {
  Json by_class;
  for (std::size_t i = 0; i < c.by_class.size(); ++i) by_class[name_of(static_cast<BufferClass>(i))] = c.by_class[i].value;
  by_class["unused"] = c.unused.value;
  Json buffers = Json::array();
  for (const PeakBuffer& b : c.peak_buffers)
    buffers.push_back({{"name", b.name}, {"bytes", b.bytes.value}, {"class", name_of(b.cls)}, {"source", b.source}});
  return {{"ranks", c.ranks},
          {"device_arena_bytes", c.device_arena.value},
          {"host_arena_bytes", c.host_arena.value},
          {"storage_bytes", c.storage.value},
          {"lower_bound_bytes", c.lower_bound.value},
          {"persistent_bytes", c.persistent.value},
          {"by_class", by_class},
          {"peak", {{"program", c.peak_program}, {"instruction", c.peak_instruction}, {"buffers", buffers}}}};
}

Json json_of(const Explanation& e) {
  Json mesh = Json::object();
  for (const MeshAxis& axis : e.mesh) mesh[axis.name] = axis.size;
  Json classes = Json::array(), collectives = Json::array(), autos = Json::array();
  for (const RankClass& c : e.rank_classes) classes.push_back(json_of(c));
  for (const CollectiveLine& c : e.collectives)
    collectives.push_back({{"op", c.op}, {"axis", c.axis}, {"count", c.count}, {"bytes_per_rank", c.bytes_per_rank.value}, {"cause", c.cause}});
  for (const AutoChoice& a : e.autos) autos.push_back({{"key", a.key}, {"value", a.value}, {"reason", a.reason}});
  return {{"layout", e.layout},       {"world_size", e.world_size},         {"mesh", mesh},       {"parameters", e.parameters},
          {"flops_per_step", e.flops_per_step}, {"rank_classes", classes}, {"collectives", collectives}, {"autos", autos}};
}

}  // namespace

std::string to_json(const std::vector<Explanation>& explanations, bool as_array) {
  if (!as_array) return json_of(explanations.front()).dump(2) + "\n";
  Json all = Json::array();
  for (const Explanation& e : explanations) all.push_back(json_of(e));
  return all.dump(2) + "\n";
}

}  // namespace dsc
