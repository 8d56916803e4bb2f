// Goal: reads, writes in place, pins and unpins of known extents need no metadata lock. Method: another thread is
// stopped at a mark inside of the locks (the journal's, a handle, the file's own inode, the allocator's way, the
// worker's turn), and all of these complete before it goes on.
#include <gtest/gtest.h>

#include <cerrno>
#include <functional>

#include "base/result.h"
#include "support/mark_stop.h"
#include "support/pool_fixture.h"
#include "support/task.h"

namespace holdfast {
namespace {

using test::bytes;
using test::code_of;
using test::MarkStop;
using test::Task;

class MetadataLocks : public test::PoolTest {
 protected:
  static constexpr std::size_t kBytes = 32 * KiB;

  void SetUp() override {
    PoolTest::SetUp();
    file_.emplace(make_file("/file", 128 * KiB));
    other_.emplace(make_file("/other", 64 * KiB));
    { const Pin tracked = file_->pin(0, kBytes, {.access = Access::write}).value(); }
    file_->sync().value();
  }
  void TearDown() override {
    file_.reset();
    other_.reset();
    PoolTest::TearDown();
  }

  // Empty, or what went wrong.
  std::string use_known_extents() {
    std::vector<std::byte> got(kBytes);
    for (unsigned char round = 0; round < 3; ++round) {
      const Result<std::size_t> written = file_->write(0, bytes(kBytes, round));
      if (!written || *written != kBytes) return "write";
      const Result<std::size_t> read = file_->read(0, got);
      if (!read || *read != kBytes || got != bytes(kBytes, round)) return "read";
      Result<Pin> pin = file_->pin(0, kBytes, {.access = Access::write});
      if (!pin) return pin.error().message();
      Result<Pin> fast = file_->try_pin(4096, 4096);
      if (!fast) return fast.error().message();
      pin->release();
    }
    return {};
  }

  // `action` is stopped at the mark while the other thread works.
  void expect_no_wait(const char* mark, const std::function<Status()>& action) {
    MarkStop stop(mark);
    Task acting([&action] { return code_of(action()); });
    ASSERT_TRUE(stop.wait_until_stopped()) << mark;
    {
      Task using_it([this] { return use_known_extents(); });
      EXPECT_EQ(using_it.get(), "") << mark;  // a thread that hangs stops the test
    }
    EXPECT_FALSE(acting.done()) << mark;
    stop.go_on();
    EXPECT_EQ(acting.get(), 0) << mark;
  }

  std::optional<File> file_;
  std::optional<File> other_;
};

TEST_F(MetadataLocks, Commit) {
  expect_no_wait("ext4.draining", [&] { return other_->sync(); });
  expect_no_wait("ext4.draining", [&] { return fs().sync(); });
}

TEST_F(MetadataLocks, TheFilesOwnInodeWhileItGrows) {
  expect_no_wait("growth.size", [&] { return file_->truncate(256 * KiB); });
  expect_no_wait("growth.size", [&]() -> Status {
    const Result<std::uint64_t> at = file_->append(bytes(4096, 'a'));
    return at ? Status() : Status(at.error());
  });
}

TEST_F(MetadataLocks, TheFilesOwnInodeAndAHandleWhileItIsCut) {
  expect_no_wait("removal.step", [&] { return file_->truncate(64 * KiB); });
  expect_no_wait("removal.step", [&] { return file_->punch(48 * KiB, 4096); });
  expect_no_wait("removal.blocks_are_out", [&] { return file_->truncate(48 * KiB); });
}

TEST_F(MetadataLocks, TheFilesOwnInodeAndTheHoldingOnesWhileItIsDetached) {
  const Pin pin = file_->pin(64 * KiB, 4096).value();
  expect_no_wait("quarantine.moved", [&] { return file_->truncate(48 * KiB, {.on_pinned = OnPinned::detach}); });
}

TEST_F(MetadataLocks, TheInodeInAnAllocationThatCommits) {
  // The space that was freed is usable only after a commit, and the file wants nearly all that there is.
  File large = make_file("/large");
  const std::uint64_t free = fs().space().free;
  large.allocate(0, free - 4 * MiB).value();
  large.sync().value();
  large.truncate(0).value();
  expect_no_wait("ext4.draining", [&] { return large.allocate(0, free - 4 * MiB); });
}

TEST_F(MetadataLocks, TheWorkersTurnAndAnOrphan) {
  other_.reset();
  for (const char* const mark : {"worker.serves", "evict.looks"}) {
    make_file("/gone", 64 * KiB);
    expect_no_wait(mark, [&]() -> Status {
      HF_TRY(fs().unlink("/gone"));
      return fs().space().quarantined == 0 ? Status() : Status(Error(EBUSY, "/gone", "in quarantine"));
    });
  }
}

}  // namespace
}  // namespace holdfast
