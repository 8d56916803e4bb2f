// Reading and writing: bytes come back as they were written, and nothing else is ever shown. Against known patterns on
// a device full of garbage.
#include <algorithm>

#include "filesystem/append.h"
#include "filesystem/fallocate.h"
#include "filesystem/sync.h"
#include "support/mark_stop.h"
#include "support/memory_pool.h"
#include "support/task.h"

namespace holdfast::test {
namespace {

class ReadWrite : public MemoryPool {};

TEST_F(ReadWrite, WhatIsWrittenComesBack) {
  start();
  const FilePtr file = open("/a");
  const Bytes bytes = pattern(3 * MiB + 123, 1);
  EXPECT_EQ(write(file, 0, bytes), bytes.size());
  EXPECT_EQ(size_of(file), bytes.size());
  EXPECT_EQ(read(file, 0, bytes.size() + 100), bytes);
  EXPECT_EQ(read(file, bytes.size(), 10).size(), 0U);
}

TEST_F(ReadWrite, HolesAndTheRestOfNewBlocksAreZeros) {
  start();
  const FilePtr file = open("/a");
  const Bytes bytes = pattern(100, 2);
  write(file, 10'000, bytes);
  Bytes expected(10'100);
  std::copy(bytes.begin(), bytes.end(), expected.begin() + 10'000);
  EXPECT_EQ(read(file, 0, 20'000), expected);
  ASSERT_TRUE(truncate(file, 20'000));
  expected.resize(20'000);
  EXPECT_EQ(read(file, 0, 20'000), expected);
}

TEST_F(ReadWrite, BytesPastTheEndAreZeroedWhenTheFileGrowsOverThem) {
  start();
  const FilePtr file = open("/a");
  write(file, 0, pattern(100, 3));
  // A store through a window, or a device's, behind the end.
  const Pin page = pin(file, 0, 100);
  std::fill(page.segments()[0].address + 100, page.segments()[0].address + 4096, std::byte{0x77});
  write(file, 5000, pattern(10, 4));
  const Bytes all = read(file, 0, 8192);
  ASSERT_EQ(all.size(), 5010U);
  EXPECT_TRUE(std::all_of(all.begin() + 100, all.begin() + 5000, [](std::byte b) { return b == std::byte{0}; }));
}

TEST_F(ReadWrite, ScatteredPiecesOfCallerMemory) {
  start(kDefaultBytes, PageCount(1), true);
  const FilePtr file = open("/a");
  Bytes bytes = pattern(20'000, 5);
  std::vector<iovec> pieces;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t part = std::min<std::size_t>(at % 7 == 0 ? 0 : 1 + at % 3001, bytes.size() - at);
    pieces.push_back({bytes.data() + at, part});
    if (part == 0) pieces.push_back({bytes.data() + at, std::min<std::size_t>(13, bytes.size() - at)});
    at += pieces.back().iov_len;
  }
  EXPECT_EQ(filesystem::write(*file->inode, 777, pieces).value(), bytes.size());
  EXPECT_EQ(read(file, 777, bytes.size()), bytes);
  Bytes back(bytes.size());
  for (iovec& piece : pieces) piece.iov_base = back.data() + (static_cast<std::byte*>(piece.iov_base) - bytes.data());
  EXPECT_EQ(filesystem::read(*file->inode, 777, pieces).value(), bytes.size());
  EXPECT_EQ(back, bytes);
}

TEST_F(ReadWrite, AppendsGoToTheEndInAnyLength) {
  start();
  const FilePtr file = open("/a");
  Bytes all;
  for (const std::size_t length : std::initializer_list<std::size_t>{10, 4096, 1, 70000, 65536, 3000000, 4096, 0, 5}) {
    const Bytes bytes = pattern(length, static_cast<unsigned>(length) + 7);
    EXPECT_EQ(filesystem::append(*file->inode, bytes).value(), all.size());
    all.insert(all.end(), bytes.begin(), bytes.end());
  }
  EXPECT_EQ(read(file, 0, all.size() + 1), all);
}

TEST_F(ReadWrite, BlocksAheadGoWithTheLastHandle) {
  start();
  {
    const FilePtr file = open("/a");
    for (unsigned i = 0; i < 100; ++i) ASSERT_TRUE(filesystem::append(*file->inode, pattern(4096, i)));
    EXPECT_LT(free_pages(), all_free_ - 100) << "nothing was allocated ahead: the test shows nothing";
  }
  EXPECT_EQ(free_pages(), all_free_ - 100);
}

TEST_F(ReadWrite, AFullPoolWritesWhatFitsAndSaysSo) {
  start(8 * MiB);
  const FilePtr file = open("/a");
  const Bytes bytes = pattern(10 * MiB, 6);
  const std::size_t written = write(file, 0, bytes);
  EXPECT_GT(written, 7 * MiB);
  EXPECT_LT(written, 8 * MiB);
  EXPECT_EQ(free_pages(), 0U);
  const iovec one{const_cast<std::byte*>(bytes.data()), 4096};
  const auto more = filesystem::write(*file->inode, written, {&one, 1});
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code(), ENOSPC);
  EXPECT_EQ(read(file, 0, bytes.size()), Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(written)));
  ASSERT_TRUE(truncate(file, 0));
  EXPECT_EQ(write(file, 0, std::span(bytes).first(MiB)), MiB) << "freed blocks are usable after a commit";
}

TEST_F(ReadWrite, BlocksAheadOfOneFileAreUsedForAnotherWhenSpaceIsShort) {
  start(4 * MiB);
  const FilePtr greedy = open("/greedy");
  for (unsigned i = 0; i < 200; ++i) ASSERT_TRUE(filesystem::append(*greedy->inode, pattern(4096, i)));
  const FilePtr other = open("/other");
  const std::uint64_t free = all_free_ - 200;
  EXPECT_EQ(write(other, 0, pattern(free * kPageBytes, 9)), free * kPageBytes);
}

TEST_F(ReadWrite, KnownExtentsNeedNeitherTheInodeLockNorTheFormat) {
  start();
  const FilePtr file = open("/a");
  write(file, 0, pattern(64 * KiB, 8));
  static_cast<void>(pin(file, 0, 4096));
  const MutexLock inode(file->inode->lock);
  const std::lock_guard format(format_->lock());
  Task other([&] {
    const Bytes bytes = pattern(8192, 10);
    bool good = write(file, 4096, bytes) == bytes.size() && read(file, 4096, 8192) == bytes;
    for (int i = 0; i < 3; ++i) {
      const Pin tracked = pin(file, 0, 4096);
      const Pin fresh = pin(file, 32 * KiB, 8192);
      good = good && tracked.length() == 4096 && fresh.length() == 8192;
    }
    return good;
  });
  EXPECT_TRUE(other.get());
}

TEST_F(ReadWrite, SparseFilesReachFar) {
  start();
  const FilePtr file = open("/a");
  const std::uint64_t far = 5 * 1024 * GiB + 17;
  const Bytes bytes = pattern(9000, 11);
  write(file, far, bytes);
  EXPECT_EQ(read(file, far, 10'000), bytes);
  EXPECT_EQ(read(file, far - 50, 50), Bytes(50));
  const iovec one{const_cast<std::byte*>(bytes.data()), 1};
  const auto beyond = filesystem::write(*file->inode, filesystem::kFileBytesMax, {&one, 1});
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.error().code(), EFBIG);
}

// --- races of two writers, each decided at a mark (filesystem/write.h) ---

class WriteRace : public MemoryPool {};

TEST_F(WriteRace, PageConvertedUnderTheCopy) {
  start();
  const FilePtr file = open("/a");
  const Bytes whole = pattern(4096, 1);
  const Bytes part = pattern(100, 2);
  MarkStop copied("write.copied");
  Task first([&] { return write(file, 0, whole); });
  ASSERT_TRUE(copied.wait_until_stopped());
  EXPECT_EQ(write(file, 50, part), 100U);  // zeroes the rest of the page that the first one filled
  copied.go_on();
  EXPECT_EQ(first.get(), whole.size());
  EXPECT_EQ(read(file, 0, 4096), whole) << "the first write ended last, and every byte of the page is its own";
}

TEST_F(WriteRace, TwoFillOnePage) {
  start();
  const FilePtr file = open("/a");
  const Bytes one = pattern(4096, 1);
  const Bytes two = pattern(4096, 2);
  MarkStop copied("write.copied");
  Task first([&] { return write(file, 0, one); });
  ASSERT_TRUE(copied.wait_until_stopped());
  EXPECT_EQ(write(file, 0, two), two.size());
  EXPECT_EQ(read(file, 0, 4096), two);
  copied.go_on();
  EXPECT_EQ(first.get(), one.size());
  EXPECT_EQ(read(file, 0, 4096), one);
}

TEST_F(WriteRace, PunchedUnderTheCopy) {
  start();
  const FilePtr file = open("/a");
  ASSERT_TRUE(truncate(file, 8192));
  const Bytes bytes = pattern(4096, 1);
  MarkStop copied("write.copied");
  Task first([&] { return write(file, 0, bytes); });
  ASSERT_TRUE(copied.wait_until_stopped());
  ASSERT_TRUE(filesystem::punch(*file->inode, 0, 4096, OnPinned::wait, Deadline::never()));
  // The block may be anybody's by now.
  const FilePtr other = open("/b");
  ASSERT_TRUE(filesystem::sync(*other->inode, false));
  Bytes theirs = pattern(20 * MiB, 3);
  theirs.resize(write(other, 0, theirs));
  EXPECT_EQ(free_pages(), 0U);
  EXPECT_EQ(read(other, 0, theirs.size()), theirs);
  theirs.resize(theirs.size() - 64 * KiB);  // room for the first to try again
  ASSERT_TRUE(truncate(other, theirs.size()));
  // Another block stands in its place, unwritten as the first was: only `removals` tells them apart.
  ASSERT_TRUE(filesystem::allocate(*file->inode, 0, 4096, true));
  copied.go_on();
  EXPECT_EQ(first.get(), bytes.size());
  EXPECT_EQ(read(file, 0, 4096), bytes);
  EXPECT_EQ(read(other, 0, theirs.size()), theirs);
}

TEST_F(WriteRace, AReaderSeesZerosUntilThePageIsWhole) {
  start();
  const FilePtr file = open("/a");
  ASSERT_TRUE(truncate(file, 64 * KiB));
  const Bytes bytes = pattern(16 * KiB, 1);
  MarkStop copied("write.copied");
  Task first([&] { return write(file, 0, bytes); });
  ASSERT_TRUE(copied.wait_until_stopped());
  EXPECT_EQ(read(file, 0, 16 * KiB), Bytes(16 * KiB));
  copied.go_on();
  first.get();
  EXPECT_EQ(read(file, 0, 16 * KiB), bytes);
}

TEST_F(WriteRace, TheSizeFollowsTheBytes) {
  start();
  const FilePtr file = open("/a");
  const Bytes bytes = pattern(4096, 1);
  MarkStop growing("growth.size");
  Task appending([&] { return filesystem::append(*file->inode, bytes).value(); });
  ASSERT_TRUE(growing.wait_until_stopped());
  EXPECT_EQ(size_of(file), 0U);
  growing.go_on();
  appending.get();
  EXPECT_EQ(read(file, 0, 4096), bytes);
}

}  // namespace
}  // namespace holdfast::test
