// Tiles are handed out once each, on any number of workers, and a worker's own come first.
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "runtime/executor/tile_runs.h"

namespace {
using dsc::TileRuns;

TEST(TileRuns, AWorkersOwnComeFirst) {
  TileRuns runs;
  runs.open(10, 2);
  for (int tile : {0, 1, 2, 3, 4}) EXPECT_EQ(runs.take(0), tile);
  EXPECT_EQ(runs.take(1), 5);
  EXPECT_EQ(runs.take(0), 6);  // helps
  for (int tile : {7, 8, 9}) EXPECT_EQ(runs.take(1), tile);
  EXPECT_FALSE(runs.left());
  for (std::size_t worker : {0, 1}) EXPECT_EQ(runs.take(worker), TileRuns::none);
  runs.open(1, 2);  // again
  EXPECT_TRUE(runs.left());
  EXPECT_EQ(runs.take(0), 0);
  EXPECT_FALSE(runs.left());
}

TEST(TileRuns, EachTileOnceOnAnyNumberOfWorkers) {
  for (const int workers : {1, 2, 3, 4, 7, 16}) {
    for (const std::int64_t tiles : {0, 1, 3, 1000}) {
      TileRuns runs;
      runs.open(tiles, workers);
      std::vector<std::vector<std::int64_t>> taken(static_cast<std::size_t>(workers));
      std::vector<std::thread> threads;
      for (std::size_t w = 0; w < taken.size(); ++w)
        threads.emplace_back([&, w] {
          for (std::int64_t tile = runs.take(w); tile != TileRuns::none; tile = runs.take(w)) taken[w].push_back(tile);
        });
      for (std::thread& thread : threads) thread.join();
      std::vector<int> times(static_cast<std::size_t>(tiles));
      for (const auto& list : taken)
        for (const std::int64_t tile : list) ++times.at(static_cast<std::size_t>(tile));
      EXPECT_EQ(times, std::vector<int>(static_cast<std::size_t>(tiles), 1)) << tiles << " tiles, " << workers << " workers";
    }
  }
}

}  // namespace
