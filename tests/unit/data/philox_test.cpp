// Known answers of Random123's own test vectors.
#include "compiler/support/philox.h"

#include <gtest/gtest.h>

namespace dsc {
namespace {

TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, StreamsOfOneSeedDiffer) {
  EXPECT_NE(stream_key(42, RandomStream::weights), stream_key(42, RandomStream::data_order));
  EXPECT_NE(stream_key(42, RandomStream::weights), stream_key(43, RandomStream::weights));
  EXPECT_NE(stream_key(42, RandomStream::weights), stream_key(42 + (1ull << 32), RandomStream::weights));
}

TEST(Philox, PathHashIsFnv1a) {
  EXPECT_EQ(path_hash(""), 0xcbf29ce484222325ull);
  EXPECT_EQ(path_hash("a"), 0xaf63dc4c8601ec8cull);
  EXPECT_EQ(path_hash("foobar"), 0x85944171f73967e8ull);
}

}  // namespace
}  // namespace dsc
