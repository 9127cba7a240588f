// The short form of fuzzing, for the ordinary test run: all seeds of a folder, and seeded mutations of them, through
// accepts().
#pragma once

#include <random>
#include <string>
#include <vector>

namespace dsc::fuzz {

// A committed file and its bytes.
struct Seed {
  std::string path;
  std::string bytes;
};
// Those of folders below the source tree ("tests/fuzz/plan/seeds"), by path; `extension` "" takes all.
std::vector<Seed> seeds_in(const std::vector<std::string>& folders, const std::string& extension);

struct Outcome {
  int accepted = 0, refused = 0;
};
// `count` mutations of the seeds' texts.
Outcome run_mutations(const std::vector<Seed>& seeds, int count, std::mt19937& random);
// The same for seeds that are JSON, which the mutations stay.
Outcome run_json_mutations(const std::vector<Seed>& seeds, int count, std::mt19937& random);

// Writes a seed that the program makes itself, where DSC_UPDATE_GOLDENS=1 asks for it.
void update_seed(const std::string& path, const std::string& bytes);

}  // namespace dsc::fuzz
