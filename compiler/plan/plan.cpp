#include "compiler/plan/plan.h"

#include <iterator>

namespace dsc {
namespace {

template <std::size_t N, class E>
const char* pick(const char* const (&names)[N], E value) {
  auto index = static_cast<std::size_t>(value);
  return index < N ? names[index] : "unknown";
}

constexpr const char* kClasses[] = {"parameters", "gradients", "optimizer", "activations", "gathered", "workspace"};
constexpr const char* kRoles[] = {"parameter", "parameter_piece", "master", "master_piece", "moment1", "moment2", "moment1_piece",
                                  "moment2_piece", "state", "gathered", "gradient", "gradient_piece", "tokens", "targets", "value",
                                  "value_gradient", "contribution", "statistics", "loss", "norm_table", "loss_table", "workspace"};
static_assert(std::size(kRoles) == static_cast<std::size_t>(BufferRole::workspace) + 1);
constexpr const char* kEngines[] = {"compute", "communication", "storage"};
constexpr const char* kCollectives[] = {"all_gather", "reduce_scatter", "all_reduce"};

}  // namespace

const char* name_of(BufferClass cls) { return pick(kClasses, cls); }
const char* name_of(BufferRole role) { return pick(kRoles, role); }
const char* name_of(Engine engine) { return pick(kEngines, engine); }
const char* name_of(CollectiveKind kind) { return pick(kCollectives, kind); }

}  // namespace dsc
