// Goal: files that own a part of a cluster only, or have blocks past their end, lose exactly what they should. Method:
// the cases that random programs found, one by one.
#include <gtest/gtest.h>

#include <cerrno>
#include <numeric>

#include "support/pool_fixture.h"

namespace holdfast {
namespace {

using test::bytes;
using test::code_of;

class Clusters : public test::PoolTest {};

// The first step of the allocation ends in a cluster that only it uses, and the last finds none left.
TEST_F(Clusters, AnAllocationThatFailsInTheMiddleLeavesNoTrace) {
  make_pool({.cluster = 16 * KiB}, 8 * MiB);
  File file = make_file("/file");
  const std::uint64_t free = fs().space().free;
  const std::uint64_t clusters = free / (16 * KiB);
  ASSERT_GT(clusters, 256U) << "more than one step";
  EXPECT_EQ(code_of(file.allocate(12 * KiB, (clusters - 1) * 16 * KiB + 8 * KiB)), ENOSPC);
  EXPECT_EQ(file.size(), 0U);
  EXPECT_TRUE(file.extents().value().empty());
  EXPECT_EQ(fs().space().free, free);
  EXPECT_EQ(file.write(12 * KiB, bytes(4096, 'w')).value(), 4096U) << "the page is where the file says it is";
}

// What is set aside for the tree counts clusters, not pages: each of its blocks takes a cluster.
TEST_F(Clusters, AllocationOfLargeClustersFillsThePool) {
  make_pool({.cluster = 2 * MiB}, 400 * MiB);
  File file = make_file("/file");
  file.allocate(0, 90 * MiB).value();
  File second = make_file("/second");
  second.allocate(0, 64 * MiB).value();
  EXPECT_EQ(second.units().value().whole_units(), 64 * MiB);
}

// The same with a page of the file in the first cluster: what the allocation added there shares it and stays,
// unwritten.
TEST_F(Clusters, AnAllocationThatFailsKeepsTheClusterThatItShares) {
  make_pool({.cluster = 16 * KiB}, 8 * MiB);
  File file = make_file("/file", 4096, 'a');
  file.sync().value();
  const std::uint64_t free = fs().space().free;
  const std::uint64_t clusters = free / (16 * KiB);
  EXPECT_EQ(code_of(file.allocate(4096, clusters * 16 * KiB + 16 * KiB - 4096)), ENOSPC);
  EXPECT_EQ(fs().space().free, free);
  EXPECT_EQ(file.write(8 * KiB, bytes(4096, 'w')).value(), 4096U);
  std::vector<std::byte> got(12 * KiB);
  EXPECT_EQ(file.read(0, got).value(), got.size());
  std::vector<std::byte> wanted = bytes(4096, 'a');
  wanted.resize(8 * KiB);
  wanted.resize(12 * KiB, std::byte{'w'});
  EXPECT_EQ(got, wanted);
}

// An unlinked file's blocks go on another thread: who finds no space meanwhile waits for it.
TEST_F(Clusters, TheSpaceOfAFileThatWasUnlinkedIsThereAtOnce) {
  make_pool({}, 64 * MiB);
  for (int round = 0; round < 20; ++round) {
    File file = make_file("/file");
    file.allocate(0, 40 * MiB).value();
    { const File gone = std::move(file); }
    fs().unlink("/file").value();
  }
  for (int round = 0; round < 20; ++round) {
    {
      File file = make_file("/file");
      const std::vector<std::byte> all = bytes(40 * MiB, 'a');
      EXPECT_EQ(file.write(0, all).value(), all.size()) << "whole";
    }
    fs().unlink("/file").value();
  }
}

// The edge of the cut is a page in the middle of a cluster whose first pages are holes.
TEST_F(Clusters, ADetachAtAPageBehindAHoleLeavesItsHolderTheBytes) {
  for (const bool punches : {false, true}) {
    SCOPED_TRACE(punches ? "punch" : "truncate");
    make_pool({.cluster = 64 * KiB});
    File file = fs().open("/file", Open::read_write | Open::create).value();
    file.write(20 * KiB, bytes(4096, 'a')).value();
    Pin pin = file.pin(20 * KiB, 4096, {.access = Access::write}).value();
    const Segment held = pin.segments().front();
    const BreakOptions detach{.on_pinned = OnPinned::detach};
    ASSERT_TRUE(punches ? file.punch(20 * KiB + 100, 100, detach) : file.truncate(20 * KiB + 100, detach));
    EXPECT_EQ(std::vector<std::byte>(held.address, held.address + held.length), bytes(4096, 'a'));
    std::fill_n(held.address, held.length, std::byte{'d'});
    std::vector<std::byte> got(100);
    EXPECT_EQ(file.read(20 * KiB, got).value(), 100U);
    EXPECT_EQ(got, bytes(100, 'a')) << "the file has a block of its own";
    EXPECT_GT(fs().space().quarantined, 0U);
    pin.release();
    EXPECT_EQ(fs().space().quarantined, 0U);
  }
}

// ftruncate(2) to the size a file has, as ext4 does it.
TEST_F(Clusters, TheSameSizeAgainDropsWhatWasAllocatedPastTheEnd) {
  for (const std::uint64_t cluster : {4 * KiB, 64 * KiB}) {
    make_pool({.cluster = cluster});
    const std::uint64_t free = fs().space().free;
    for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{100}, 64 * KiB, 64 * KiB + 1}) {
      SCOPED_TRACE(size);
      File file = make_file("/file", size);
      file.allocate(size, MiB, Allocate::keep_size).value();
      file.allocate(16 * MiB, MiB, Allocate::keep_size).value();
      file.truncate(size).value();
      const std::uint64_t kept = (size + cluster - 1) / cluster * cluster;
      const std::vector<ExtentInfo> extents = file.extents().value();
      for (const ExtentInfo& extent : extents) EXPECT_LE(extent.offset + extent.length, kept);
      EXPECT_EQ(fs().space().free, free - kept);
      EXPECT_EQ(file.size(), size);
      fs().unlink("/file").value();
    }
  }
}

}  // namespace
}  // namespace holdfast
