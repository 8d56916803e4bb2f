// Goal: reserve leaves no page of its range without space and does nothing the second time; give_back frees whole pages
// and is not forgotten; out of space is an error that leaves what was there.
// Method: the carrier's own count of allocated blocks; passings of the mark at the system call are
// counted; a small tmpfs in a mount namespace of its own; a thread stopped at the race point.
#include "device/backing.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <random>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/fault_point.h"
#include "base/mark.h"
#include "base/units.h"
#include "device/device.h"
#include "device/file_descriptor.h"
#include "support/child.h"
#include "support/hugetlb.h"
#include "support/scratch.h"
#include "support/skip.h"

namespace holdfast::device {
namespace {

constexpr std::uint64_t kChunk = 2 * MiB;

// Space that the file has. Pages that were allocated and never touched count; SEEK_DATA does not see those.
std::uint64_t allocated_bytes(int fd) {
  struct stat status {};
  EXPECT_EQ(fstat(fd, &status), 0);
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

// How many bytes of space the file gains by a store to each page of the range: 0 when all of it was allocated.
std::uint64_t bytes_gained_by_stores(int fd, std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t before = allocated_bytes(fd);
  for (std::uint64_t page = offset; page < offset + length; page += kPageBytes) {
    EXPECT_EQ(pwrite(fd, "x", 1, static_cast<off_t>(page)), 1);
  }
  return allocated_bytes(fd) - before;
}

// Counts how often a mark is passed while it lives.
class MarkCount {
 public:
  explicit MarkCount(const char* name) : name_(name) { mark::set_handler(&MarkCount::reached, this); }
  ~MarkCount() { mark::set_handler(nullptr, nullptr); }
  MarkCount(const MarkCount&) = delete;
  MarkCount& operator=(const MarkCount&) = delete;
  unsigned value() const { return value_.load(); }

 private:
  static void reached(void* self, const char* name) {
    auto* count = static_cast<MarkCount*>(self);
    if (count->name_ == name) ++count->value_;
  }
  const std::string_view name_;
  std::atomic<unsigned> value_{0};
};

class Backing4K : public testing::Test {
 protected:
  void SetUp() override {
    fd_ = FileDescriptor(memfd_create("backing", MFD_CLOEXEC));
    ASSERT_EQ(ftruncate(fd_.get(), static_cast<off_t>(kSize)), 0);
    auto backing = Backing::create(fd_.get(), "backing", {kSize, kPageBytes, Kind::memory, false});
    ASSERT_TRUE(backing);
    backing_ = std::move(backing).value();
  }

  static constexpr std::uint64_t kSize = 9 * kChunk + 3 * kPageBytes;  // the last chunk is short
  FileDescriptor fd_;
  std::unique_ptr<Backing> backing_;
};

TEST_F(Backing4K, TakesWholeChunksAndOnlyOnce) {
  const MarkCount allocations("backing.allocate");
  ASSERT_TRUE(backing_->reserve(kChunk + kPageBytes, kPageBytes));
  EXPECT_EQ(allocated_bytes(fd_.get()), kChunk);
  EXPECT_EQ(bytes_gained_by_stores(fd_.get(), kChunk, kChunk), 0U);
  EXPECT_EQ(allocations.value(), 1U);
  ASSERT_TRUE(backing_->reserve(kChunk, kChunk));
  EXPECT_EQ(allocations.value(), 1U) << "the second call is a bit test";
  ASSERT_TRUE(backing_->reserve(2 * kChunk - 1, 2));
  EXPECT_EQ(allocations.value(), 2U) << "only the chunk that is missing";
}

TEST_F(Backing4K, TheLastChunkMayBeShort) {
  ASSERT_TRUE(backing_->reserve(kSize - 1, 1));
  EXPECT_EQ(allocated_bytes(fd_.get()), 3 * kPageBytes);
  EXPECT_EQ(bytes_gained_by_stores(fd_.get(), 9 * kChunk, 3 * kPageBytes), 0U);
  struct stat status {};
  ASSERT_EQ(fstat(fd_.get(), &status), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(status.st_size), kSize) << "the size is never changed";
}

TEST_F(Backing4K, NothingIsNothing) {
  EXPECT_TRUE(backing_->reserve(0, 0));
  EXPECT_TRUE(backing_->reserve(kSize, 0));
  EXPECT_TRUE(backing_->give_back(kSize, 0));
  EXPECT_TRUE(backing_->give_back(1, kPageBytes)) << "no whole page inside";
  EXPECT_EQ(allocated_bytes(fd_.get()), 0U);
}

TEST_F(Backing4K, GiveBackFreesWholePagesOnly) {
  ASSERT_TRUE(backing_->reserve(0, kSize));
  ASSERT_TRUE(backing_->give_back(kPageBytes - 1, 2 * kPageBytes));
  EXPECT_EQ(allocated_bytes(fd_.get()), kSize - kPageBytes);
  EXPECT_EQ(bytes_gained_by_stores(fd_.get(), 0, kPageBytes), 0U);
  EXPECT_EQ(bytes_gained_by_stores(fd_.get(), 2 * kPageBytes, kPageBytes), 0U);
  ASSERT_TRUE(backing_->reserve(kPageBytes, kPageBytes));
  EXPECT_EQ(allocated_bytes(fd_.get()), kSize);
}

// Bits are kept in words of 64; clearing some must leave their neighbours.
TEST(BackingBits, GiveBackForgetsExactlyTheChunksItTouches) {
  constexpr std::uint64_t kChunks = 260;
  const FileDescriptor file(memfd_create("bits", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(file.get(), static_cast<off_t>(kChunks * kChunk)), 0);
  auto backing = Backing::create(file.get(), "bits", {kChunks * kChunk, kPageBytes, Kind::memory, false});
  ASSERT_TRUE(backing);
  const std::vector<std::uint64_t> chunks = {0, 1, 63, 64, 127, 128, 130, 191, 192, 259};
  for (const auto& [first, last] : {std::pair<std::uint64_t, std::uint64_t>{64, 64},
                                    {64, 127},
                                    {1, 63},
                                    {0, 128},
                                    {63, 192},
                                    {128, 129},
                                    {192, 259},
                                    {0, 259}}) {
    for (const std::uint64_t chunk : chunks) ASSERT_TRUE((*backing)->reserve(chunk * kChunk, 1));
    ASSERT_TRUE((*backing)->give_back(first * kChunk, (last - first + 1) * kChunk));
    for (const std::uint64_t chunk : chunks) {
      const bool freed = first <= chunk && chunk <= last;
      EXPECT_EQ((*backing)->is_reserved(chunk * kChunk, kChunk), !freed)
          << "chunk " << chunk << " after giving back " << first << " to " << last;
    }
  }
}

// The model: a set of allocated pages, to which reserve adds whole chunks and from which give_back takes pages.
TEST_F(Backing4K, RandomSequencesAllocateAndFreeWhatTheModelSays) {
  constexpr unsigned kSeed = 20260301;
  std::mt19937_64 random(kSeed);
  constexpr std::uint64_t kPages = kSize / kPageBytes;
  constexpr std::uint64_t kChunkPages = kChunk / kPageBytes;
  std::vector<bool> allocated(kPages, false);
  for (int step = 0; step < 400; ++step) {
    const std::uint64_t first = random() % kPages;
    const std::uint64_t count = 1 + random() % std::min<std::uint64_t>(kPages - first, 1200);
    std::uint64_t from = first;
    std::uint64_t to = first + count;
    const bool reserves = random() % 2 == 0;
    if (reserves) {
      ASSERT_TRUE(backing_->reserve(first * kPageBytes, count * kPageBytes));
      from = round_down(from, kChunkPages);
      to = std::min(kPages, round_up(to, kChunkPages));
    } else {
      ASSERT_TRUE(backing_->give_back(first * kPageBytes, count * kPageBytes));
    }
    std::fill(allocated.begin() + static_cast<std::ptrdiff_t>(from),
              allocated.begin() + static_cast<std::ptrdiff_t>(to), reserves);
    const auto pages = static_cast<std::uint64_t>(std::count(allocated.begin(), allocated.end(), true));
    ASSERT_EQ(allocated_bytes(fd_.get()), pages * kPageBytes) << "seed " << kSeed << " step " << step;
  }
}

// Stops the thread that allocates between its system call and its bit, until the thread that gives back has had every
// chance to come between (B2).
class StopAfterAllocation {
 public:
  StopAfterAllocation() { mark::set_handler(&StopAfterAllocation::reached, this); }
  ~StopAfterAllocation() { mark::set_handler(nullptr, nullptr); }
  StopAfterAllocation(const StopAfterAllocation&) = delete;
  StopAfterAllocation& operator=(const StopAfterAllocation&) = delete;

  void wait_until_stopped() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return stopped_; });
  }
  void given_back() {
    const std::lock_guard lock(mutex_);
    given_back_ = true;
    changed_.notify_all();
  }

 private:
  static void reached(void* self, const char* name) { static_cast<StopAfterAllocation*>(self)->reached(name); }
  void reached(std::string_view name) {
    std::unique_lock lock(mutex_);
    if (name == "backing.allocated" && !stopped_) {
      stopped_ = true;
      changed_.notify_all();
      // The other thread ends only if nothing keeps it out: with the lock it cannot, and this time runs out.
      changed_.wait_for(lock, std::chrono::milliseconds(100), [this] { return given_back_; });
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopped_ = false;
  bool given_back_ = false;
};

TEST_F(Backing4K, GiveBackDuringReserveIsNotForgotten) {
  StopAfterAllocation stop;
  std::thread reserving([this] { EXPECT_TRUE(backing_->reserve(0, kPageBytes)); });
  stop.wait_until_stopped();
  std::thread giving_back([this, &stop] {
    EXPECT_TRUE(backing_->give_back(100 * kPageBytes, kPageBytes));
    stop.given_back();
  });
  reserving.join();
  giving_back.join();
  EXPECT_EQ(allocated_bytes(fd_.get()), kChunk - kPageBytes);
  ASSERT_TRUE(backing_->reserve(100 * kPageBytes, kPageBytes));
  EXPECT_EQ(allocated_bytes(fd_.get()), kChunk) << "the chunk's bit outlived the hole";
}

TEST_F(Backing4K, ThreadsThatReserveAndGiveBackTheirOwnPagesOfSharedChunks) {
  constexpr unsigned kThreads = 4;
  constexpr std::uint64_t kPagesEach = 256;  // interleaved, in two shared chunks
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t) {
    threads.emplace_back([this, t] {
      std::mt19937 random(t + 1);
      for (int step = 0; step < 200; ++step) {
        const std::uint64_t page = (random() % kPagesEach) * kThreads + t;
        EXPECT_TRUE(backing_->give_back(page * kPageBytes, kPageBytes));
        EXPECT_TRUE(backing_->reserve(page * kPageBytes, kPageBytes));
      }
      // Whatever the others did in between: what this thread reserved last is there.
      for (std::uint64_t page = t; page < kPagesEach * kThreads; page += kThreads) {
        EXPECT_TRUE(backing_->reserve(page * kPageBytes, kPageBytes));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(allocated_bytes(fd_.get()), 2 * kChunk);
}

TEST_F(Backing4K, AnInterruptedAllocationGoesOnInSmallerPieces) {
  const MarkCount pieces("backing.piece");
  fault_point::arm("backing.interrupted", 1, 3);
  const Status reserved = backing_->reserve(0, 1);
  fault_point::disarm_all();
  ASSERT_TRUE(reserved) << reserved.error().message();
  EXPECT_EQ(allocated_bytes(fd_.get()), kChunk);
  EXPECT_EQ(pieces.value(), 3U + 8U) << "three interruptions, then eighths";
}

TEST_F(Backing4K, PiecesNeverGetSmallerThanAPage) {
  fault_point::arm("backing.interrupted", 1, 100);
  const Status reserved = backing_->reserve(0, 1);
  fault_point::disarm_all();
  ASSERT_TRUE(reserved) << reserved.error().message();
  EXPECT_EQ(allocated_bytes(fd_.get()), kChunk);
}

// A tmpfs with room for three chunks and a bit, in which a device of eight lives.
std::string fill_small_tmpfs(const std::string& directory) {
  if (mount("small", directory.c_str(), "tmpfs", 0, "size=6400k") != 0) return "mount: " + std::to_string(errno);
  auto device = Device::create_file(directory + "/pool", {8 * kChunk, false});
  if (!device) return device.error().message();
  Device& pool = **device;
  const int fd = pool.fd();

  if (!pool.reserve(Pfn(0), PageCount(1))) return "the first page does not fit";
  if (allocated_bytes(fd) != kChunk) return "a chunk fits and was not taken whole";
  // One chunk fits still, but not twice over: exact ranges only from here.
  if (!pool.reserve(Pfn(512), PageCount(512))) return "the second chunk does not fit";
  if (!pool.reserve(Pfn(1024), PageCount(3))) return "three pages do not fit";
  if (allocated_bytes(fd) != 2 * kChunk + 3 * kPageBytes) return "more than the exact range was taken near the end";

  const Status refused = pool.reserve(Pfn(2048), PageCount(1024));
  if (refused) return "8 MiB fit into 6.25 MiB";
  if (refused.error().code() != ENOSPC) return "not ENOSPC but " + refused.error().message();
  if (refused.error().remedy().find("tmpfs") == std::string::npos) return "no remedy: " + refused.error().message();
  if (bytes_gained_by_stores(fd, 0, 2 * kChunk + 3 * kPageBytes) != 0) return "what was reserved before is gone";

  if (!pool.give_back(Pfn(0), PageCount(512))) return "give_back failed";
  if (const Status now = pool.reserve(Pfn(2048), PageCount(500)); !now)
    return "after give_back: " + now.error().message();
  return {};
}

TEST(BackingSmallTmpfs, OutOfSpaceIsAnErrorAndNearItRangesAreExact) {
  const test::ScratchDirectory directory;
  std::string unavailable;
  const test::ChildEnd end =
      test::run_with_private_mounts([&directory] { return fill_small_tmpfs(directory.path()); }, unavailable);
  if (!unavailable.empty()) HF_SKIP_CAPABILITY("mount", unavailable);
  EXPECT_TRUE(end.exited && end.status == 0) << end.message << " signal " << end.signal;
}

TEST(BackingHugetlb, TakesAndFreesWholeHugePages) {
  const test::HugePages pages(3);
  if (!pages.missing().empty()) HF_SKIP_CAPABILITY("hugetlb", pages.missing());
  const std::uint64_t before = pages.available();
  auto device = Device::create_memory({3 * kChunk, PageSize::huge_2m, "huge"});
  ASSERT_TRUE(device) << device.error().message();
  EXPECT_EQ(pages.available(), before - 3) << "all are promised at once";
  ASSERT_TRUE((*device)->reserve(Pfn(513), PageCount(1)));
  EXPECT_EQ(allocated_bytes((*device)->fd()), kChunk);
  EXPECT_EQ(pages.available(), before - 3) << "what is allocated was promised before";
  *(*device)->at(Pfn(513)) = std::byte{9};
  EXPECT_TRUE((*device)->give_back(Pfn(513), PageCount(511)));
  EXPECT_EQ(*(*device)->at(Pfn(513)), std::byte{9}) << "part of a huge page stays";
  EXPECT_TRUE((*device)->give_back(Pfn(512), PageCount(512)));
  EXPECT_EQ(allocated_bytes((*device)->fd()), 0U);
  ASSERT_TRUE((*device)->reserve(Pfn(512), PageCount(512)));
  EXPECT_EQ(*(*device)->at(Pfn(513)), std::byte{0});
}

}  // namespace
}  // namespace holdfast::device
