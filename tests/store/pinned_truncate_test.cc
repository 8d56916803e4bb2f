// Goal: truncate and punch treat pins as they are told: wait, fail, or detach. Method: the public interface on a pool
// file; one side is known to sleep (a mark) before the other goes on; e2fsck judges what a killed process leaves.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <iostream>

#include "support/child.h"
#include "support/mark_stop.h"
#include "support/pool_fixture.h"
#include "support/task.h"

namespace holdfast {
namespace {

using std::chrono::milliseconds;
using test::bytes;
using test::code_of;
using test::MarkCount;
using test::MarkStop;
using test::Task;

constexpr BreakOptions kWait{.on_pinned = OnPinned::wait};
constexpr BreakOptions kFail{.on_pinned = OnPinned::fail};
constexpr BreakOptions kDetach{.on_pinned = OnPinned::detach};

class PinnedTruncate : public test::PoolTest, public ::testing::WithParamInterface<bool> {
 protected:
  // Takes the last half of a file of 64 KiB away.
  Status cut(File& file, const BreakOptions& options) {
    return GetParam() ? file.punch(32 * KiB, 32 * KiB, options) : file.truncate(32 * KiB, options);
  }
  std::uint64_t size_after() const { return GetParam() ? 64 * KiB : 32 * KiB; }

  static std::vector<std::byte> contents(const File& file) {
    std::vector<std::byte> got(file.size());
    EXPECT_EQ(file.read(0, got).value(), got.size());
    return got;
  }
  static std::vector<std::uint64_t> places(const File& file) {
    std::vector<std::uint64_t> result;
    const std::vector<ExtentInfo> extents = file.extents().value();
    for (const ExtentInfo& each : extents) {
      result.insert(result.end(), {each.offset, each.device_offset, each.length});
    }
    return result;
  }
  void expect_untouched(const File& file, const std::vector<std::uint64_t>& before) {
    EXPECT_EQ(file.size(), 64 * KiB);
    EXPECT_EQ(contents(file), bytes(64 * KiB, 'x'));
    EXPECT_EQ(places(file), before);
  }
};

TEST_P(PinnedTruncate, WaitReturnsAfterTheUnpin) {
  File file = make_file("/file", 64 * KiB);
  Pin pin = file.pin(40 * KiB, 4096, {.access = Access::write}).value();
  std::atomic<bool> released{false};
  MarkCount sleeps("layout.break.sleeps");
  Task cutting([&] {
    const Status done = cut(file, kWait);
    return std::pair(code_of(done), released.load());
  });
  ASSERT_TRUE(sleeps.wait_until(1));
  EXPECT_FALSE(cutting.done());
  EXPECT_EQ(file.size(), 64 * KiB) << "nothing has changed while it waits";
  std::fill_n(pin.segments().front().address, 4096, std::byte{'d'});
  released = true;
  pin.release();
  EXPECT_EQ(cutting.get(), std::pair(0, true));
  EXPECT_EQ(file.size(), size_after());
  std::vector<std::byte> wanted = bytes(32 * KiB, 'x');
  wanted.resize(size_after());
  EXPECT_EQ(contents(file), wanted);
}

// The neighbour is below the cut: its pin is nobody's hindrance, and taking it is none of the break's business.
TEST_P(PinnedTruncate, WaitReturnsAfterTheUnpinAlsoWhenItsHolderPinsANeighbourFirst) {
  File file = make_file("/file", 64 * KiB);
  Pin pin = file.pin(32 * KiB, 4096).value();
  MarkCount sleeps("layout.break.sleeps");
  Task cutting([&] { return code_of(cut(file, kWait)); });
  ASSERT_TRUE(sleeps.wait_until(1));
  const Pin neighbour = file.pin(28 * KiB, 4096, {.deadline = std::chrono::seconds(10)}).value();
  EXPECT_FALSE(cutting.done());
  pin.release();
  EXPECT_EQ(cutting.get(), 0);
  EXPECT_EQ(file.size(), size_after());
}

TEST_P(PinnedTruncate, TheHolderItselfIsToldOfTheDeadlock) {
  File file = make_file("/file", 64 * KiB);
  const auto before = places(file);
  const Pin pin = file.pin(40 * KiB, 4096).value();
  EXPECT_EQ(code_of(cut(file, kWait)), EDEADLK);
  expect_untouched(file, before);
}

TEST_P(PinnedTruncate, ADeadlineThatPassesHasChangedNothing) {
  File file = make_file("/file", 64 * KiB);
  const auto before = places(file);
  const Pin pin = file.pin(40 * KiB, 4096, {.purpose = "slow disk"}).value();
  Task cutting([&] { return cut(file, {.on_pinned = OnPinned::wait, .deadline = milliseconds(20)}); });
  const Status status = cutting.get();
  ASSERT_EQ(code_of(status), ETIMEDOUT);
  EXPECT_NE(status.error().message().find("slow disk"), std::string::npos) << status.error().message();
  expect_untouched(file, before);
}

TEST_P(PinnedTruncate, FailNamesTheHolder) {
  File file = make_file("/file", 64 * KiB);
  const auto before = places(file);
  Pin pin = file.pin(40 * KiB, 4096, {.purpose = "nic read"}).value();
  const Status status = cut(file, kFail);
  ASSERT_EQ(code_of(status), EBUSY);
  EXPECT_NE(status.error().message().find("nic read"), std::string::npos) << status.error().message();
  expect_untouched(file, before);
  pin.release();
  EXPECT_EQ(code_of(cut(file, kFail)), 0);
}

TEST_P(PinnedTruncate, DetachReturnsWhileThePinIsHeld) {
  File file = make_file("/file", 64 * KiB);
  const std::uint64_t free = fs().space().free;
  Pin pin = file.pin(40 * KiB, 8192).value();
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(code_of(cut(file, kDetach)), 0);
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  std::cout << "detach took " << took.count() << " ms\n";
  RecordProperty("detach_ms", std::to_string(took.count()));
  EXPECT_EQ(std::vector<std::byte>(pin.segments().front().address, pin.segments().front().address + 8192),
            bytes(8192, 'x'));
  EXPECT_EQ(file.size(), size_after());
  EXPECT_EQ(fs().space().quarantined, 8192U);
  EXPECT_EQ(fs().space().free, free + 24 * KiB);
  pin.release();
  EXPECT_EQ(fs().space().quarantined, 0U);
  EXPECT_EQ(fs().space().free, free + 32 * KiB);
}

// What a process that dies with a pin leaves: `e2fsck -p` frees the quarantined blocks and nothing else.
TEST_P(PinnedTruncate, AfterAKillE2fsckFreesWhatWasInQuarantine) {
  File file = make_file("/file", 64 * KiB);
  file = make_file("/other", 64 * KiB);
  { const File dropped = std::move(file); }
  close();
  test::Child child([&](test::Child& self) -> std::string {
    Filesystem fs = Filesystem::mount(Device::open(path()).value()).value();
    File mine = fs.open("/file", Open::read_write).value();
    const Pin pin = mine.pin(40 * KiB, 12 * KiB).value();
    if (const Status done = cut(mine, kDetach); !done) return done.error().message();
    if (fs.space().quarantined != 12 * KiB) return "in quarantine: " + std::to_string(fs.space().quarantined);
    fs.sync().value();
    self.ready_and_wait();
    return {};
  });
  ASSERT_TRUE(child.wait_until_ready());
  ASSERT_EQ(kill(child.pid(), SIGKILL), 0);
  ASSERT_EQ(child.wait().signal, SIGKILL);

  EXPECT_EQ(code_of(mount()), EUCLEAN) << "it is to be repaired first";
  const std::int64_t before = test::dumpe2fs_number(path(), "Free blocks");
  const test::ProgramEnd repaired = test::run_program("e2fsck -p '" + path() + "'");
  EXPECT_LE(repaired.status, 1) << repaired.output;
  EXPECT_EQ(test::dumpe2fs_number(path(), "Free blocks"), before + 3) << repaired.output;
  EXPECT_TRUE(test::e2fsck_clean(path()));
  ASSERT_EQ(code_of(mount()), 0);
  File again = fs().open("/file", Open::read_write).value();
  std::vector<std::byte> wanted = bytes(32 * KiB, 'x');
  wanted.resize(size_after());
  EXPECT_EQ(again.size(), size_after());
  EXPECT_EQ(contents(again), wanted);
  EXPECT_EQ(contents(fs().open("/other", Open::read).value()), bytes(64 * KiB, 'x'));
}

// No commit comes between the step that moves pinned blocks out of a file and the one that takes the rest.
TEST_P(PinnedTruncate, ADetachIsWholeInEveryCommit) {
  File file = make_file("/file", 64 * KiB);
  { const File dropped = std::move(file); }
  close();
  test::Child child([&](test::Child& self) -> std::string {
    Filesystem fs = Filesystem::mount(Device::open(path()).value()).value();
    File mine = fs.open("/file", Open::read_write).value();
    File other = fs.open("/other", Open::write | Open::create).value();
    const Pin pin = mine.pin(40 * KiB, 4096).value();
    MarkStop moved("quarantine.moved");
    Task cutting([&] { return code_of(cut(mine, kDetach)); });
    if (!moved.wait_until_stopped()) return "not moved";
    MarkCount draining("ext4.draining");
    Task syncing([&] { return code_of(other.sync()); });
    const bool drains = draining.wait_until(1);
    // One that is not held back by the cut would end here: what it wrote is what the parent sees.
    for (int i = 0; i < 20 && !syncing.done(); ++i) std::this_thread::sleep_for(milliseconds(5));
    if (drains && syncing.done()) {
      self.ready_and_wait();
      return {};
    }
    moved.go_on();
    if (cutting.get() != 0 || syncing.get() != 0 || !drains) return "cut or sync failed";
    self.ready_and_wait();
    return {};
  });
  ASSERT_TRUE(child.wait_until_ready()) << child.wait().message;
  ASSERT_EQ(kill(child.pid(), SIGKILL), 0);
  static_cast<void>(child.wait());
  EXPECT_LE(test::run_program("e2fsck -p '" + path() + "'").status, 1);
  ASSERT_EQ(code_of(mount()), 0);
  const File again = fs().open("/file", Open::read).value();
  EXPECT_EQ(again.size(), size_after());
  std::vector<std::byte> wanted = bytes(32 * KiB, 'x');
  wanted.resize(size_after());
  EXPECT_EQ(contents(again), wanted);
}

INSTANTIATE_TEST_SUITE_P(Cuts, PinnedTruncate, ::testing::Bool(),
                         [](const auto& each) { return each.param ? "Punch" : "Truncate"; });

}  // namespace
}  // namespace holdfast
