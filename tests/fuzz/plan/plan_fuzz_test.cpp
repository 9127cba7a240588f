// Seeded mutations of plans' JSON: text mutations must be refused; value mutations, read without the hash, must be refused
// or load into something that verify, print and to_json can take.
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <random>

#include "compiler/plan/plan_json.h"
#include "compiler/plan/print.h"
#include "compiler/plan/verify.h"
#include "compiler/support/diagnostic_codes.h"
#include "tests/unit/plan/tiny_plan.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace dsc::testing {
namespace {

using Json = nlohmann::json;

// DSC_FUZZ_SEED=N looks elsewhere.
unsigned seed(unsigned fixed) {
  const char* other = std::getenv("DSC_FUZZ_SEED");
  return other ? fixed + 1000u * static_cast<unsigned>(std::atoi(other)) : fixed;
}

std::vector<Plan> seeds() { return {tiny_plan({}), tiny_plan({2, 2, 3}), tiny_plan({4, 3, 1, Reduce::each, DType::bf16}), tiny_plan({2, 7, 2, Reduce::once, DType::f16, OptimizerKind::sgd})}; }

TEST(PlanFuzz, MutatedTextIsRefused) {
  std::mt19937 random(seed(7));
  std::vector<Plan> plans = seeds();
  int refused = 0;
  for (int i = 0; i < 1500; ++i) {
    std::string text = to_json(plans[static_cast<std::size_t>(i) % plans.size()]);
    std::string original = text;
    for (int n = 1 + static_cast<int>(random() % 4); n > 0; --n) {
      std::size_t at = random() % text.size();
      switch (random() % 4) {
        case 0: text[at] = static_cast<char>(random()); break;
        case 1: text.erase(at, 1 + random() % 40); break;
        case 2: text.insert(at, text.substr(random() % text.size(), 1 + random() % 40)); break;
        case 3: text[at] = "0123456789-[]{}\",:"[random() % 18]; break;
      }
    }
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
    Result<Plan> plan = from_json(text);
    if (plan) {
      EXPECT_EQ(to_json(*plan), original);  // white space and the like
    } else {
      ++refused;
      EXPECT_TRUE(code_named(plan.error().code)) << plan.error().code;
    }
  }
  EXPECT_GT(refused, 1400);
}

// All places of numbers, strings, booleans and lists.
void collect(Json& json, std::vector<Json*>& places) {
  if (json.is_structured())
    for (Json& child : json) collect(child, places);
  places.push_back(&json);
}

TEST(PlanFuzz, MutatedValuesNeverCrash) {
  std::mt19937_64 random(seed(8));
  std::vector<Json> documents;
  for (const Plan& plan : seeds()) documents.push_back(Json::parse(to_json(plan)));
  const std::vector<Json> values = {0, 1, -1, 2, 63, 64, 65, 1000, 4294967295u, 9007199254740993, 1125899906842624, 1125899906842625, std::int64_t(1) << 62, 0xFFFFFFFFFFFFFFFFu, -9223372036854775807 - 1,
                                    0.5, -1e300, true, nullptr, "", "f32", "i32", "update", "all_reduce", Json::array(), Json::array({0}), Json::object()};
  int past_limits = 0;
  for (int i = 0; i < 1500; ++i) {
    Json json = documents[static_cast<std::size_t>(i) % documents.size()];
    std::vector<Json*> places;
    collect(json, places);
    for (int n = 1 + static_cast<int>(random() % 3); n > 0; --n) {
      Json& place = *places[random() % places.size()];
      if (place.is_structured()) {
        // Keep the structure; duplicate or drop one element of a list.
        if (place.is_array() && !place.empty()) {
          std::size_t at = random() % place.size();
          if (random() % 2) place.erase(at);
          else place.push_back(Json(place[at]));
        }
        places.clear();
        collect(json, places);
      } else if (place.is_number_integer() && random() % 2) {
        place = place.get<std::int64_t>() + static_cast<std::int64_t>(random() % 9) - 4;
      } else {
        place = values[random() % values.size()];
        places.clear();
        collect(json, places);
      }
    }
    Result<Plan> loaded = from_json_unsealed(json.dump(-1, ' ', false, Json::error_handler_t::replace));
    if (!loaded) continue;
    ++past_limits;
    Plan plan = std::move(*loaded);
    VerifyReport report = verify(plan);
    for (const VerifyError& error : report.errors) EXPECT_FALSE(str(error, plan).empty());
    EXPECT_FALSE(print(plan).empty());
    seal(plan);
    Result<Plan> again = from_json(to_json(plan));
    ASSERT_TRUE(again) << again.error().message;
  }
  EXPECT_GT(past_limits, 200);
}

}  // namespace
}  // namespace dsc::testing
