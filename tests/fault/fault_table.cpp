#include "tests/fault/fault_table.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <vector>

namespace dsc_fault {
namespace {

constexpr std::size_t kKindsAtLeast = 25;

struct Row {
  std::string kind;
  std::int64_t injected = 0;
  std::string outcome;
};

std::vector<Row>& rows() {
  static std::vector<Row> list;
  return list;
}

// Prints the table after the last test; where no test was left out, it must be long enough.
class Table : public ::testing::Environment {
  void TearDown() override {
    if (rows().empty()) return;
    std::int64_t all = 0;
    std::printf("\n%-44s %8s  %s\n", "fault", "injected", "outcome");
    for (const Row& row : rows()) {
      std::printf("%-44s %8lld  %s\n", row.kind.c_str(), static_cast<long long>(row.injected), row.outcome.c_str());
      all += row.injected;
    }
    std::printf("%zu kinds, %lld faults\n", rows().size(), static_cast<long long>(all));
    const ::testing::UnitTest& tests = *::testing::UnitTest::GetInstance();
    EXPECT_TRUE(tests.test_to_run_count() < tests.total_test_count() || rows().size() >= kKindsAtLeast);
  }
};

[[maybe_unused]] ::testing::Environment* const table = ::testing::AddGlobalTestEnvironment(new Table);

}  // namespace

void note(const std::string& kind, std::int64_t injected, const std::string& outcome) {
  EXPECT_GT(injected, 0) << kind;
  // Failures since the last note.
  static const ::testing::TestInfo* test = nullptr;
  static int before = 0;
  const ::testing::TestInfo* now = ::testing::UnitTest::GetInstance()->current_test_info();
  if (now != test) before = 0;
  test = now;
  int failures = 0;
  for (int i = 0; i < now->result()->total_part_count(); ++i) failures += now->result()->GetTestPartResult(i).failed();
  rows().push_back({kind, injected, failures > before ? "NOT AS EXPECTED: " + outcome : outcome});
  before = failures;
}

}  // namespace dsc_fault
