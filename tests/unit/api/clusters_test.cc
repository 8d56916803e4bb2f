// Goal: files on pools with clusters above 4 KiB stay what e2fsck calls clean, also where part of a cluster stays past
// the end of a file. Method: truncates and punches off the cluster's grid, through the public interface; e2fsck judges.
#include "support/pool_fixture.h"

namespace holdfast::test {
namespace {

class Clusters : public PoolTest, public ::testing::WithParamInterface<std::uint64_t> {
 protected:
  void SetUp() override { make_pool({.cluster = GetParam()}, 256 * MiB); }
};

TEST_P(Clusters, ATruncateInsideAClusterLeavesNothingWrittenPastTheEnd) {
  {
    File file = make_file("/a", 3 * GetParam() + 5000, 'a');
    file.truncate(GetParam() + 100).value();
    EXPECT_EQ(file.size(), GetParam() + 100);
  }
  remount();
}

TEST_P(Clusters, WhatGrowsAgainReadsAsZeros) {
  {
    File file = make_file("/a", 2 * GetParam(), 'a');
    file.truncate(100).value();
    file.truncate(2 * GetParam()).value();
    auto content = bytes(2 * GetParam(), 1);
    EXPECT_EQ(file.read(0, content).value(), content.size());
    auto expected = bytes(2 * GetParam(), 0);
    std::fill_n(expected.begin(), 100, std::byte{'a'});
    EXPECT_EQ(content, expected);
    EXPECT_EQ(file.write(4096, bytes(10, 'b')).value(), 10U);
  }
  remount();
}

TEST_P(Clusters, APinAfterATruncateHasItsBlocksWrittenAgain) {
  {
    File file = make_file("/a", 2 * GetParam(), 'a');
    { const Pin pin = file.pin(0, 2 * GetParam(), {.access = Access::write}).value(); }
    file.truncate(100).value();
    file.truncate(GetParam()).value();
    const Pin pin = file.pin(0, GetParam(), {.access = Access::write}).value();
    for (std::size_t i = 4096; i < GetParam(); i += 4096) EXPECT_EQ(pin.segments()[0].address[i], std::byte{0});
  }
  remount();
}

TEST_P(Clusters, APunchOffTheGridZeroesAndKeeps) {
  {
    File file = make_file("/a", 4 * GetParam(), 'a');
    file.punch(GetParam() / 2, 2 * GetParam()).value();
    auto content = bytes(4 * GetParam(), 1);
    EXPECT_EQ(file.read(0, content).value(), content.size());
    auto expected = bytes(4 * GetParam(), 'a');
    std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(GetParam() / 2), 2 * GetParam(), std::byte{0});
    EXPECT_EQ(content, expected);
  }
  remount();
}

INSTANTIATE_TEST_SUITE_P(Sizes, Clusters, ::testing::Values(8 * KiB, 64 * KiB, 2 * MiB));

}  // namespace
}  // namespace holdfast::test
