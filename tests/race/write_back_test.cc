// Goal: R12, and what makes a write-back true (S17, S18): a store that came before it is flushed, one that comes during
// it stays dirty, and nobody returns before what he found dirty is flushed. Method: a window of one word a page, kept
// by the rules of mapping/write_back.cc; one side stopped at a mark, the other run past it, then the reverse.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <optional>
#include <random>

#include "support/file_fixture.h"
#include "support/mark_stop.h"
#include "support/task.h"

namespace holdfast {
namespace {

using mapping::EntryLock;
using mapping::EntryMark;
using mapping::Hold;
using test::MarkCount;
using test::MarkStop;
using test::Task;

// Translations that may be stored through, the memory, and what reached the medium.
class WriteBackRace : public test::FileFixture, private mapping::TranslationRemover {
 protected:
  static constexpr std::uint64_t kSize = 8;

  WriteBackRace() {
    insert_pages(0, kSize);
    file_->set_translation_remover(this);
  }
  ~WriteBackRace() override { file_->set_translation_remover(nullptr); }

  // A store as a program makes it: straight through where it may, by a fault where it may not.
  void store(std::uint64_t index, std::uint64_t value) {
    for (;;) {
      {
        // Stands for the processor, whose store and whose look at the translation are one step.
        const std::lock_guard lock(translations_);
        if (writable_.at(index)) {
          memory_.at(index) = value;
          return;
        }
      }
      fault(index);
    }
  }
  void fault(std::uint64_t index) {
    const auto hold = Hold::enter(*file_, pages_at(index), Deadline());
    const Result<EntryLock> entry = file_->mark_dirty(PageIndex(index), Deadline());
    ASSERT_TRUE(entry) << entry.error().message();
    HF_MARK("test.marked");
    const std::lock_guard lock(translations_);
    writable_.at(index) = true;
  }
  Status write_back(Deadline deadline = Deadline::never()) {
    return file_->write_back(
        pages_at(0, kSize),
        [this](PageIndex index, Pfn pfn, PageCount count) -> Status {
          EXPECT_EQ(pfn, page_of(index.raw()));
          EXPECT_EQ(count, PageCount(1));
          if (fails_.exchange(false)) return Error(EIO, "medium", "made to fail");
          medium_.at(index.raw()) = memory_.at(index.raw()).load();
          ++flushes_;
          return {};
        },
        deadline);
  }
  bool dirty(std::uint64_t index) { return file_->marked(PageIndex(index), EntryMark::dirty); }

  std::mutex translations_;
  std::array<bool, kSize> writable_{};
  std::array<std::atomic<std::uint64_t>, kSize> memory_{};
  std::array<std::atomic<std::uint64_t>, kSize> medium_{};
  std::atomic<bool> fails_{false};
  std::atomic<unsigned> flushes_{0};

 private:
  void remove_translations(PageRange range) override {
    const std::lock_guard lock(translations_);
    for (PageIndex at = range.first; at < range.end && at.raw() < kSize; at += PageCount(1)) {
      writable_.at(at.raw()) = false;
    }
  }
};

TEST_F(WriteBackRace, FlushesWhatIsDirtyAndNothingElse) {
  store(1, 7);
  store(3, 8);
  ASSERT_TRUE(write_back());
  EXPECT_EQ(medium_[1], 7U);
  EXPECT_EQ(medium_[3], 8U);
  EXPECT_EQ(flushes_, 2U);
  EXPECT_FALSE(dirty(1) || dirty(3));
  store(1, 9);
  EXPECT_TRUE(dirty(1)) << "the next store faults again";
  ASSERT_TRUE(write_back());
  EXPECT_EQ(flushes_, 3U);
}

// The fault has the entry's lock when the write-back comes: it is waited for, and its store is flushed.
TEST_F(WriteBackRace, R12_WriteBackMeetsAFault) {
  MarkStop marked("test.marked");
  Task storer([&] {
    store(2, 7);
    return true;
  });
  ASSERT_TRUE(marked.wait_until_stopped());
  MarkCount met("mapping.write_back.met_lock");
  Task syncer([&] { return write_back().has_value(); });
  ASSERT_TRUE(met.wait_until(1));
  EXPECT_FALSE(syncer.done());
  marked.go_on();
  EXPECT_TRUE(storer.get() && syncer.get());
  // The store itself may have come after the flush; then its fault was repeated, and the page is dirty.
  EXPECT_TRUE(medium_[2] == 7U || dirty(2));
}

// The write-back has it: the fault waits until the page is clean, and marks it anew.
TEST_F(WriteBackRace, R12_StoreMeetsWriteBack) {
  for (const char* const place : {"mapping.write_back.protected", "mapping.write_back.flushed"}) {
    SCOPED_TRACE(place);
    store(2, 7);
    MarkStop stop(place);
    Task syncer([&] { return write_back().has_value(); });
    ASSERT_TRUE(stop.wait_until_stopped());
    MarkCount waits("mapping.lock.waits");
    Task storer([&] {
      store(2, 8);
      return true;
    });
    ASSERT_TRUE(waits.wait_until(1));
    EXPECT_FALSE(storer.done()) << "a store during a flush";
    stop.go_on();
    EXPECT_TRUE(syncer.get() && storer.get());
    EXPECT_EQ(medium_[2], 7U);
    EXPECT_TRUE(dirty(2)) << "the store is lost for the next write-back";
    ASSERT_TRUE(write_back());
    EXPECT_EQ(medium_[2], 8U);
  }
}

// A second write-back finds the entry in the hands of the first: it does not return before the bytes are flushed, and
// does not flush them twice.
TEST_F(WriteBackRace, R12_TwoWriteBacks) {
  store(2, 7);
  MarkStop protect("mapping.write_back.protected");
  Task first([&] { return write_back().has_value(); });
  ASSERT_TRUE(protect.wait_until_stopped());
  MarkCount met("mapping.write_back.met_lock");
  Task second([&] { return write_back().has_value(); });
  ASSERT_TRUE(met.wait_until(1));
  EXPECT_FALSE(second.done()) << "S18: it returned before what it found dirty was flushed";
  EXPECT_EQ(medium_[2], 0U);
  protect.go_on();
  EXPECT_TRUE(first.get() && second.get());
  EXPECT_EQ(medium_[2], 7U);
  EXPECT_EQ(flushes_, 1U);
}

// Both have picked the entry when the first locks it: the second finds it picked still.
TEST_F(WriteBackRace, R12_TwoWriteBacksThatBothPicked) {
  store(2, 7);
  MarkStop picked("mapping.write_back.picked");
  Task first([&] { return write_back().has_value(); });
  ASSERT_TRUE(picked.wait_until_stopped());
  MarkStop protect("mapping.write_back.protected");
  Task second([&] { return write_back().has_value(); });
  ASSERT_TRUE(protect.wait_until_stopped());
  MarkCount met("mapping.write_back.met_lock");
  picked.go_on();
  ASSERT_TRUE(met.wait_until(1)) << "S18: it passed over an entry that is being flushed";
  EXPECT_FALSE(first.done());
  protect.go_on();
  EXPECT_TRUE(first.get() && second.get());
  EXPECT_EQ(medium_[2], 7U);
}

TEST_F(WriteBackRace, AFailedFlushLeavesItDirty) {
  store(2, 7);
  fails_ = true;
  const Status failed = write_back();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code(), EIO);
  EXPECT_TRUE(dirty(2));
  EXPECT_FALSE(lookup(2).locked());
  ASSERT_TRUE(write_back());
  EXPECT_EQ(medium_[2], 7U);
}

// S17: a break takes marks only of what it takes.
TEST_F(WriteBackRace, ABreakTakesNoMarkOfWhatStays) {
  store(1, 7);
  store(2, 8);
  ASSERT_FALSE(file_->zap(pages_at(0, kSize)));
  file_->remove(pages_at(2));
  EXPECT_TRUE(dirty(1));
  EXPECT_FALSE(dirty(2));
  ASSERT_TRUE(write_back());
  EXPECT_EQ(medium_[1], 7U) << "a zapped entry is flushed, too";
  EXPECT_EQ(medium_[2], 0U);
}

TEST_F(WriteBackRace, GivesUpAtItsDeadline) {
  store(2, 7);
  const Result<EntryLock> locked = file_->lock_entry(PageIndex(2), kOrder4K, Deadline());
  const Status late = write_back(Deadline::after(std::chrono::milliseconds(5)));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code(), ETIMEDOUT);
  EXPECT_TRUE(dirty(2));
}

// Two threads store, one makes durable: after its last call the medium has everything, and never something that was not
// in memory before.
TEST_F(WriteBackRace, StoresAndWriteBacksAtRandom) {
  std::atomic<bool> stop{false};
  const auto stores = [&](std::uint64_t seed) {
    std::mt19937_64 random(seed);
    for (std::uint64_t step = 1; step <= 4000; ++step) store(random() % kSize / 2 * 2 + seed % 2, step);
    return true;
  };
  Task even([&] { return stores(2); });
  Task odd([&] { return stores(3); });
  Task syncs([&] {
    while (!stop.load()) {
      if (!write_back()) return false;
    }
    return true;
  });
  EXPECT_TRUE(even.get() && odd.get());
  stop.store(true);
  EXPECT_TRUE(syncs.get());
  ASSERT_TRUE(write_back());
  for (std::uint64_t i = 0; i < kSize; ++i) EXPECT_EQ(medium_.at(i), memory_.at(i)) << i;
}

}  // namespace
}  // namespace holdfast
