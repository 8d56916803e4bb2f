// Goal: a lease of a file keeps its blocks as a pin does, and its holder is asked back by whoever wants them. Method:
// the public interface on a pool file; one side is known to sleep (a mark) before the other goes on.
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <future>
#include <optional>

#include "support/mark_stop.h"
#include "support/pool_fixture.h"
#include "support/task.h"

namespace holdfast {
namespace {

using namespace std::chrono_literals;
using test::bytes;
using test::code_of;
using test::MarkCount;
using test::Task;

class Leases : public test::PoolTest {};

TEST_F(Leases, TellsWhereTheBytesAreAndWhenTheyAreWanted) {
  File file = make_file("/a", 64 * KiB);
  std::atomic<unsigned> told{0};
  const int event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  Lease lease =
      file.lease(8 * KiB, 32 * KiB,
                 {.purpose = "peer", .grace = 1h, .on_recall = [&](RecallReason) { ++told; }, .event_fd = event_fd})
          .value();
  ASSERT_FALSE(lease.extents().empty());
  std::uint64_t length = 0;
  for (const LeasedExtent& extent : lease.extents()) {
    EXPECT_EQ(extent.offset, 8 * KiB + length);
    EXPECT_EQ(extent.segment.address, fs().window() + extent.segment.device_offset);
    EXPECT_EQ(std::to_integer<char>(extent.segment.address[0]), 'x');
    length += extent.segment.length;
  }
  EXPECT_EQ(length, 32 * KiB);
  EXPECT_FALSE(lease.recalled());

  MarkCount sleeps("layout.break.sleeps");
  Task cut([&] { return code_of(file.truncate(16 * KiB)); });
  ASSERT_TRUE(sleeps.wait_until(1));
  EXPECT_TRUE(lease.recalled());
  EXPECT_EQ(told, 1U);
  std::uint64_t count = 0;
  EXPECT_EQ(::read(event_fd, &count, sizeof count), static_cast<ssize_t>(sizeof count));
  EXPECT_EQ(count, 1U);
  const std::vector<LeaseInfo> leases = fs().leases();
  ASSERT_EQ(leases.size(), 1U);
  EXPECT_EQ(leases[0].path, "/a");
  EXPECT_EQ(leases[0].purpose, "peer");
  EXPECT_EQ(leases[0].offset, 8 * KiB);
  EXPECT_EQ(leases[0].length, 32 * KiB);
  EXPECT_TRUE(leases[0].recalled);
  EXPECT_FALSE(leases[0].overdue);
  EXPECT_FALSE(cut.done());
  lease.release();
  EXPECT_EQ(cut.get(), 0);
  EXPECT_TRUE(fs().leases().empty());
  ::close(event_fd);
}

// The holder's own truncate tells it first: it lets go, and there is no deadlock.
TEST_F(Leases, TheHoldersOwnTruncateIsNoDeadlock) {
  File file = make_file("/a", 64 * KiB);
  std::optional<Lease> lease;
  lease.emplace(file.lease(0, 64 * KiB, {.on_recall = [&](RecallReason) { lease->release(); }}).value());
  EXPECT_TRUE(file.truncate(0));
}

TEST_F(Leases, AnOverdueHolderIsNamedAndKeepsItsBlocks) {
  File file = make_file("/a", 64 * KiB);
  Lease lease = file.lease(0, 64 * KiB, {.purpose = "slow peer", .grace = 0ns}).value();
  const Status late = file.truncate(0, {.deadline = 10ms});
  ASSERT_EQ(code_of(late), ETIMEDOUT);
  EXPECT_NE(late.error().message().find("slow peer"), std::string::npos) << late.error().message();
  EXPECT_NE(late.error().message().find("overdue"), std::string::npos) << late.error().message();
  EXPECT_EQ(file.size(), 64 * KiB);
  // Detach goes on without it; the blocks are nobody else's until the release.
  const std::uint64_t free = fs().space().free;
  EXPECT_TRUE(file.truncate(0, {.on_pinned = OnPinned::detach}));
  EXPECT_EQ(fs().space().quarantined, 64 * KiB);
  EXPECT_EQ(std::to_integer<char>(lease.extents()[0].segment.address[0]), 'x');
  lease.release();
  EXPECT_EQ(fs().space().quarantined, 0U);
  EXPECT_GT(fs().space().free, free);
}

// Blocks that come into a hole: the holder is told, and the write goes on after its grace at the latest.
TEST_F(Leases, AWriteIntoAHoleTellsTheHolder) {
  File file = make_file("/a");
  ASSERT_TRUE(file.truncate(64 * KiB));
  const auto told_by = [&](const std::function<void()>& change) {
    std::optional<RecallReason> reason;
    const Lease lease =
        file.lease(0, 64 * KiB, {.grace = 0ns, .on_recall = [&](RecallReason why) { reason = why; }}).value();
    change();
    return reason;
  };
  EXPECT_EQ(told_by([&] { file.write(0, bytes(4096, 'y')).value(); }), RecallReason::write);
  EXPECT_EQ(told_by([&] { file.write(100, bytes(100, 'z')).value(); }), std::nullopt) << "in place";
  EXPECT_EQ(told_by([&] { file.allocate(8 * KiB, 4096).value(); }), RecallReason::write);
  EXPECT_EQ(told_by([&] { file.pin(16 * KiB, 4096, {.access = Access::write}).value(); }), RecallReason::write);
  EXPECT_EQ(told_by([&] { file.append(bytes(100, 'a')).value(); }), std::nullopt) << "behind the range";
  EXPECT_EQ(told_by([&] { file.punch(0, 4096, {.on_pinned = OnPinned::detach}).value(); }), RecallReason::unmap);
}

// The file ends under a lease: its blocks wait in quarantine for the release.
TEST_F(Leases, AnUnlinkedFilesBlocksWaitForTheRelease) {
  std::promise<RecallReason> told;
  const std::uint64_t free = fs().space().free;
  std::optional<Lease> lease;
  {
    File file = make_file("/a", 64 * KiB);
    lease.emplace(file.lease(0, 64 * KiB, {.on_recall = [&](RecallReason why) { told.set_value(why); }}).value());
    ASSERT_TRUE(fs().unlink("/a"));
  }
  EXPECT_EQ(fs().space().quarantined, 64 * KiB);
  EXPECT_EQ(told.get_future().get(), RecallReason::final);
  EXPECT_EQ(std::to_integer<char>(lease->extents()[0].segment.address[0]), 'x');
  lease->release();
  EXPECT_EQ(fs().space().quarantined, 0U);
  EXPECT_EQ(fs().space().free, free);
}

TEST_F(Leases, RefusesWhatItCannotCover) {
  File file = make_file("/a", 64 * KiB);
  EXPECT_EQ(code_of(file.lease(0, 0)), ENXIO);
  EXPECT_EQ(code_of(file.lease(60 * KiB, 8 * KiB)), ENXIO);
  EXPECT_EQ(code_of(file.lease(1, ~std::uint64_t{0})), ENXIO);
  File for_reading = fs().open("/a", Open::read).value();
  EXPECT_EQ(code_of(for_reading.lease(0, 4096, {.access = Access::write})), EBADF);
  EXPECT_TRUE(fs().leases().empty());
  EXPECT_TRUE(fs().pins().empty());
}

// While a truncate waits, a new lease of its range waits, too, or is refused.
TEST_F(Leases, ANewLeaseWaitsForATruncate) {
  File file = make_file("/a", 64 * KiB);
  std::optional<Pin> pin(file.pin(0, 4096).value());
  MarkCount sleeps("layout.break.sleeps");
  Task cut([&] { return code_of(file.punch(0, 64 * KiB)); });
  ASSERT_TRUE(sleeps.wait_until(1));
  Task refused([&] { return code_of(file.lease(0, 4096, {.on_break = OnBreak::fail})); });
  EXPECT_EQ(refused.get(), EAGAIN);
  MarkCount waits("pin.waits");
  Task waiting([&] {
    const Result<Lease> lease = file.lease(0, 64 * KiB, {});
    return lease ? lease->extents().size() : 99;
  });
  ASSERT_TRUE(waits.wait_until(1));
  EXPECT_FALSE(waiting.done());
  pin.reset();
  EXPECT_EQ(cut.get(), 0);
  EXPECT_EQ(waiting.get(), 0U) << "all of it is a hole by now";
}

// A write asked for leases before this one was listed, and fills the hole after it was seen: the holder is told.
TEST_F(Leases, AFillMeetsANewLease) {
  File file = make_file("/a");
  ASSERT_TRUE(file.truncate(64 * KiB));
  std::atomic<unsigned> told{0};
  test::MarkStop looked("lease.looked");
  Task holder(
      [&] { return file.lease(0, 64 * KiB, {.grace = 0ns, .on_recall = [&](RecallReason) { ++told; }}).value(); });
  ASSERT_TRUE(looked.wait_until_stopped());
  file.write(0, bytes(4096, 'y')).value();
  looked.go_on();
  const Lease lease = holder.get();
  EXPECT_TRUE(lease.extents().empty());
  EXPECT_TRUE(lease.recalled());
  EXPECT_EQ(told, 1U);
}

TEST_F(Leases, UnmountNamesALease) {
  Lease lease = make_file("/a", 64 * KiB).lease(0, 64 * KiB, {.purpose = "peer"}).value();
  const Status busy = fs().unmount();
  EXPECT_EQ(code_of(busy), EBUSY);
  EXPECT_NE(busy.error().message().find("/a"), std::string::npos) << busy.error().message();
  lease.release();
}

}  // namespace
}  // namespace holdfast
