// Goal: every held pin is reported with what it was taken with, and no other; slots cost no memory twice; a report made
// while pins come and go never mixes two of them. Method: each question against known pins, releases by other threads,
// threads that end before their pins, and scans under churn of identities whose fields must agree.
#include "pagemap/pin_table.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <future>
#include <iterator>
#include <limits>
#include <set>
#include <thread>
#include <vector>

#include "base/fault_point.h"
#include "support/child.h"
#include "support/mark_stop.h"

namespace holdfast::pagemap {
namespace {

constexpr std::size_t kAll = 1'000'000;
constexpr std::uint64_t kWholeFile = std::numeric_limits<std::uint64_t>::max();

// Each test speaks of file systems of its own.
std::uint32_t new_filesystem() {
  static std::atomic<std::uint32_t> last{1000};
  return last.fetch_add(1);
}

PinSlot* hold(const PinIdentity& identity) {
  PinSlot* const slot = take_slot(identity);
  EXPECT_NE(slot, nullptr);
  confirm_slot(slot);
  return slot;
}

PinIdentity identity_of(FileKey file, std::uint64_t offset, std::uint64_t length) {
  PinIdentity identity;
  identity.file = file;
  identity.offset = offset;
  identity.length = length;
  return identity;
}

TEST(PinTable, ReportsWhatAPinWasTakenWith) {
  const FileKey file{new_filesystem(), 12};
  PinIdentity identity = identity_of(file, 8192, 4096);
  identity.purpose = "nic receive";
  identity.deadline = Nanoseconds(77);
  identity.access = Access::write;
  identity.released_elsewhere = true;
  const Nanoseconds before = monotonic_coarse_now();
  PinSlot* const slot = hold(identity);
  const std::vector<Holder> holders = holders_of(file, 0, kWholeFile, kAll);
  ASSERT_EQ(holders.size(), 1U);
  const Holder& holder = holders.front();
  EXPECT_EQ(holder.identity.file, file);
  EXPECT_EQ(holder.identity.offset, 8192U);
  EXPECT_EQ(holder.identity.length, 4096U);
  EXPECT_STREQ(holder.identity.purpose, "nic receive");
  EXPECT_EQ(holder.identity.deadline, Nanoseconds(77));
  EXPECT_EQ(holder.identity.access, Access::write);
  EXPECT_TRUE(holder.identity.released_elsewhere);
  EXPECT_GE(holder.since, before);
  EXPECT_LE(holder.since, monotonic_now());
  EXPECT_EQ(holder.pid, getpid());
  EXPECT_EQ(holder.tid, gettid());
  EXPECT_TRUE(holder.this_thread);
  release_slot(slot);
  EXPECT_TRUE(holders_of(file, 0, kWholeFile, kAll).empty());
}

TEST(PinTable, OnlyHeldPinsAreReported) {
  const FileKey file{new_filesystem(), 1};
  PinSlot* const slot = take_slot(identity_of(file, 0, 1));
  EXPECT_TRUE(holders_of(file, 0, kWholeFile, kAll).empty()) << "the count is not verified yet";
  EXPECT_FALSE(this_thread_holds(file));
  release_slot(slot);  // a pin that failed
  EXPECT_TRUE(holders_of(file, 0, kWholeFile, kAll).empty());
}

TEST(PinTable, AsksByFileRangeAndLimit) {
  const std::uint32_t filesystem = new_filesystem();
  const FileKey file{filesystem, 1};
  const FileKey other{filesystem, 2};
  std::vector<PinSlot*> slots;
  for (std::uint64_t page = 0; page < 10; ++page) slots.push_back(hold(identity_of(file, page * 4096, 4096)));
  slots.push_back(hold(identity_of(other, 0, kWholeFile)));
  slots.push_back(hold(identity_of({new_filesystem(), 1}, 0, 4096)));
  EXPECT_EQ(holders_of(file, 0, kWholeFile, kAll).size(), 10U);
  EXPECT_EQ(holders_of(file, 4096, 1, kAll).size(), 1U);
  EXPECT_EQ(holders_of(file, 4095, 2, kAll).size(), 2U);
  EXPECT_EQ(holders_of(file, 10 * 4096, kWholeFile, kAll).size(), 0U) << "a range that runs over the end of numbers";
  EXPECT_EQ(holders_of(file, 8192, 0, kAll).size(), 0U) << "an empty range";
  EXPECT_EQ(holders_of(other, 1U << 30, 1, kAll).size(), 1U);
  EXPECT_EQ(holders_of(file, 0, kWholeFile, 3).size(), 3U);
  EXPECT_EQ(holders_of(file, 0, kWholeFile, 0).size(), 0U);
  EXPECT_EQ(holders_of_filesystem(filesystem, kAll).size(), 11U);
  for (PinSlot* const slot : slots) release_slot(slot);
  EXPECT_EQ(holders_of_filesystem(filesystem, kAll).size(), 0U);
}

TEST(PinTable, KnowsAWaitThatWouldNeverEnd) {
  const FileKey file{new_filesystem(), 1};
  EXPECT_FALSE(only_this_thread_holds(file, 0, kWholeFile)) << "nobody holds it";
  PinSlot* const mine = hold(identity_of(file, 0, 4096));
  EXPECT_TRUE(this_thread_holds(file));
  EXPECT_TRUE(only_this_thread_holds(file, 0, kWholeFile));
  EXPECT_FALSE(only_this_thread_holds(file, 4096, 4096)) << "not in that range";
  std::thread([file] {
    EXPECT_FALSE(this_thread_holds(file));
    EXPECT_FALSE(only_this_thread_holds(file, 0, kWholeFile));
    PinSlot* const theirs = hold(identity_of(file, 0, 4096));
    EXPECT_FALSE(only_this_thread_holds(file, 0, kWholeFile)) << "two hold it";
    release_slot(theirs);
  }).join();
  PinIdentity elsewhere = identity_of(file, 0, 4096);
  elsewhere.released_elsewhere = true;
  PinSlot* const handed_on = hold(elsewhere);
  EXPECT_FALSE(only_this_thread_holds(file, 0, kWholeFile)) << "another thread will release one of them";
  release_slot(mine);
  EXPECT_FALSE(this_thread_holds(file));
  release_slot(handed_on);
}

TEST(PinTable, FreedSlotsAreUsedAgain) {
  const FileKey file{new_filesystem(), 1};
  std::set<PinSlot*> seen;
  for (int i = 0; i < 10'000; ++i) {
    PinSlot* const slot = hold(identity_of(file, 0, 1));
    seen.insert(slot);
    release_slot(slot);
  }
  EXPECT_EQ(seen.size(), 1U);
}

#if defined(HOLDFAST_TEST_HOOKS) && HOLDFAST_TEST_HOOKS
// A scan stopped in the midst of a slot, while its pin goes and another comes.
TEST(PinTable, APinThatGoesDuringItsReportIsNotReported) {
  const FileKey file{new_filesystem(), 1};
  PinSlot* slot = hold(identity_of(file, 0, 1));
  test::MarkStop reading("pin_table.reading");
  std::vector<Holder> holders;
  std::thread scanner([&] { holders = holders_of_filesystem(file.filesystem, kAll); });
  ASSERT_TRUE(reading.wait_until_stopped());
  release_slot(slot);
  PinSlot* const next = hold(identity_of({file.filesystem, 2}, 4096, 4096));
  ASSERT_EQ(next, slot);
  reading.go_on();
  scanner.join();
  EXPECT_TRUE(holders.empty()) << "a mixture of two pins";
  release_slot(next);
}
#endif

// In threads of their own: the free list of the main thread may be long from other tests.
void slots_come_home() {
  const FileKey file{new_filesystem(), 1};
  std::set<PinSlot*> first;
  for (int i = 0; i < 1'000; ++i) first.insert(hold(identity_of(file, 0, 1)));
  std::thread([&first] {
    for (PinSlot* const slot : first) release_slot(slot);
  }).join();
  EXPECT_TRUE(holders_of(file, 0, kWholeFile, kAll).empty());
  std::set<PinSlot*> second;
  for (int i = 0; i < 1'000; ++i) second.insert(hold(identity_of(file, 0, 1)));
  std::vector<PinSlot*> again;
  std::set_intersection(first.begin(), first.end(), second.begin(), second.end(), std::back_inserter(again));
  // Slots that were free before may be among the second; the others are the first once more.
  EXPECT_GE(again.size(), 900U);
  for (PinSlot* const slot : second) release_slot(slot);
}

TEST(PinTable, AMillionPinsCostSixtyFourBytesEach) {
#if defined(__SANITIZE_THREAD__)
  constexpr std::size_t kPins = 50'000;
#else
  constexpr std::size_t kPins = 1'000'000;
#endif
  const FileKey file{new_filesystem(), 1};
  std::vector<PinSlot*> slots;
  slots.reserve(kPins);
  for (std::size_t i = 0; i < kPins; ++i) slots.push_back(hold(identity_of(file, i, 1)));
  std::set<PinChunk*> chunks;
  for (PinSlot* const slot : slots) chunks.insert(PinChunk::of(slot));
  EXPECT_LE(chunks.size() * PinChunk::kBytes, kPins * 64 + kPins + 2 * PinChunk::kBytes);
  EXPECT_EQ(holders_of(file, kPins / 2, 1, kAll).size(), 1U);
  for (PinSlot* const slot : slots) release_slot(slot);
}

TEST(PinTable, APinOutlivesItsThreadAndKeepsItsName) {
  const FileKey file{new_filesystem(), 1};
  std::promise<PinSlot*> handed;
  std::int32_t tid = 0;
  std::thread([&] {
    pthread_setname_np(pthread_self(), "first name");
    PinSlot* const slot = hold(identity_of(file, 0, 1));
    pthread_setname_np(pthread_self(), "dma-worker");
    EXPECT_EQ(holders_of(file, 0, 1, 1).at(0).thread_name, "dma-worker") << "the name of today";
    tid = gettid();
    handed.set_value(slot);
  }).join();
  // A new thread, with pins of its own, does not take the name over.
  const auto look = [&] {
    const std::vector<Holder> holders = holders_of(file, 0, 1, kAll);
    ASSERT_EQ(holders.size(), 1U);
    EXPECT_EQ(holders.front().tid, tid);
    EXPECT_EQ(holders.front().thread_name, "dma-worker");
    EXPECT_FALSE(holders.front().this_thread);
  };
  look();
  std::thread([&] {
    PinSlot* const other = hold(identity_of({file.filesystem, 2}, 0, 1));
    look();
    release_slot(other);
  }).join();
  release_slot(handed.get_future().get());
  EXPECT_TRUE(holders_of(file, 0, 1, kAll).empty());
}

TEST(PinTable, TablesOfEndedThreadsAreTakenOver) {
  const FileKey file{new_filesystem(), 1};
  std::set<PinTable*> tables;
  PinSlot* left = nullptr;  // each thread leaves one pin, which the next but one finds released
  for (int i = 0; i < 200; ++i) {
    PinSlot* taken = nullptr;
    std::thread([&] {
      taken = hold(identity_of(file, 0, 1));
      tables.insert(PinChunk::of(taken)->table);
    }).join();
    if (left != nullptr) release_slot(left);
    left = taken;
  }
  release_slot(left);
  EXPECT_LE(tables.size(), 3U);
}

TEST(PinTable, ScansUnderChurnMixNoTwoPins) {
  const FileKey file{new_filesystem(), 1};
  const std::uint32_t other_inode = 2;
  std::atomic<bool> stop{false};
  std::thread pinner([&] {
    // Every field follows from the number, so a mixture shows. Many are held at any time, each for a moment.
    static constexpr const char* kPurposes[] = {"even", "odd"};
    std::array<PinSlot*, 64> ring{};
    for (std::uint64_t i = 1; !stop.load(std::memory_order_relaxed); ++i) {
      PinIdentity identity = identity_of({file.filesystem, i % 5 == 0 ? other_inode : file.inode}, i, i);
      identity.purpose = kPurposes[i % 2];
      identity.deadline = Nanoseconds(static_cast<std::int64_t>(i));
      identity.access = i % 2 == 0 ? Access::read : Access::write;
      PinSlot*& slot = ring[i % ring.size()];
      if (slot != nullptr) release_slot(slot);
      slot = take_slot(identity);
      if (i % 3 != 0) confirm_slot(slot);
    }
    for (PinSlot* const slot : ring) {
      if (slot != nullptr) release_slot(slot);
    }
  });
  std::size_t seen = 0;
  const Deadline end = Deadline::after(std::chrono::milliseconds(700));
  while (!end.passed()) {
    for (const Holder& holder : holders_of_filesystem(file.filesystem, kAll)) {
      ++seen;
      const std::uint64_t number = holder.identity.offset;
      ASSERT_EQ(holder.identity.length, number);
      ASSERT_EQ(holder.identity.deadline.count(), static_cast<std::int64_t>(number));
      ASSERT_STREQ(holder.identity.purpose, number % 2 == 0 ? "even" : "odd");
      ASSERT_EQ(holder.identity.access, number % 2 == 0 ? Access::read : Access::write);
      ASSERT_EQ(holder.identity.file.inode, number % 5 == 0 ? other_inode : file.inode);
      ASSERT_NE(number % 3, 0U) << "never confirmed";
    }
  }
  stop.store(true);
  pinner.join();
  EXPECT_GT(seen, 0U);
}

TEST(PinTable, SlotsFreedByAnotherThreadComeHome) { std::thread(slots_come_home).join(); }

void slots_go_between_threads() {
  const FileKey file{new_filesystem(), 1};
  constexpr int kPins = 20'000;
  std::atomic<PinSlot*> handed{nullptr};
  PinSlot no_more;
  std::thread releaser([&] {
    for (;;) {
      handed.wait(nullptr);
      PinSlot* const slot = handed.exchange(nullptr, std::memory_order_acquire);
      if (slot == &no_more) return;
      release_slot(slot);
      handed.notify_one();
    }
  });
  const auto hand_over = [&handed](PinSlot* slot) {
    while (PinSlot* const before = handed.load(std::memory_order_relaxed)) handed.wait(before);
    handed.store(slot, std::memory_order_release);
    handed.notify_one();
  };
  const Deadline end = Deadline::after(std::chrono::milliseconds(500));
  std::set<PinSlot*> used;
  for (int i = 0; i < kPins && !end.passed(); ++i) {
    PinSlot* const slot = hold(identity_of(file, 0, 1));
    used.insert(slot);
    hand_over(slot);
  }
  hand_over(&no_more);
  releaser.join();
  EXPECT_TRUE(holders_of(file, 0, kWholeFile, kAll).empty());
  // The thread may have taken over a table with a long free list, which it uses up before it takes slots back.
  EXPECT_LE(used.size(), PinChunk::kSlots) << "a handful are under way at a time";
}

TEST(PinTable, SlotsGoBetweenThreadsUnderChurn) { std::thread(slots_go_between_threads).join(); }

#if defined(HOLDFAST_TEST_HOOKS) && HOLDFAST_TEST_HOOKS
void take_until_memory_ends() {
  const FileKey file{new_filesystem(), 1};
  std::vector<PinSlot*> slots;
  fault_point::arm("pin_table.grow", 1, 1'000'000);
  for (;;) {
    PinSlot* const slot = take_slot(identity_of(file, 0, 1));
    if (slot == nullptr) break;
    slots.push_back(slot);
    ASSERT_LT(slots.size(), 1'000'000U);
  }
  fault_point::disarm_all();
  PinSlot* const slot = take_slot(identity_of(file, 0, 1));
  EXPECT_NE(slot, nullptr) << "later there is some again";
  release_slot(slot);
  for (PinSlot* const each : slots) release_slot(each);
}

TEST(PinTable, NoMemoryIsNoSlot) { std::thread(take_until_memory_ends).join(); }
#endif

TEST(PinTable, AChildForgets) {
  const FileKey file{new_filesystem(), 1};
  PinSlot* const inherited = hold(identity_of(file, 0, 1));
  const test::ChildEnd end = test::run_in_child([&]() -> std::string {
    if (!holders_of(file, 0, kWholeFile, kAll).empty()) return "the child reports the parent's pin";
    if (this_thread_holds(file)) return "the child holds the parent's pin";
    PinSlot* const own = take_slot(identity_of(file, 0, 1));
    confirm_slot(own);
    if (PinChunk::of(own)->table == PinChunk::of(inherited)->table) return "the child uses the parent's table";
    release_slot(inherited);
    const std::vector<Holder> holders = holders_of(file, 0, kWholeFile, kAll);
    if (holders.size() != 1 || holders.front().pid != getpid()) return "the child's own pin is not reported";
    release_slot(own);
    return "";
  });
  EXPECT_TRUE(end.exited) << "signal " << end.signal;
  EXPECT_EQ(end.status, 0) << end.message;
  EXPECT_EQ(holders_of(file, 0, kWholeFile, kAll).size(), 1U);
  release_slot(inherited);
}

}  // namespace
}  // namespace holdfast::pagemap
