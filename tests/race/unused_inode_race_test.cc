// Goal: what is cached of a file that nobody has open, its inode and its entries, goes without harm beside pins, opens,
// faults, reads and truncates of that file: R20 and R21, and with them the defect D4 (a removal that is no truncate and
// leaves references behind, or takes them twice).
// The kernel's R20 is virtiofs's reclaim of a slot of its window: memory that one file has lent and another gets.
// Blocks are never lent here; what is reclaimed under a file that lives on is its entries, by InodeTable::drop_unused.
// The questions are the same: is anybody still using it, who comes meanwhile, and is the count exact afterwards.
// Method: drop_unused run by hand, stopped before it looks, on ext4 pools; the mapping's own removal on entries.
#include <gtest/gtest.h>

#include <cerrno>
#include <optional>

#include "layout/break.h"
#include "race/file_race.h"
#include "support/file_fixture.h"
#include "support/mark_stop.h"
#include "support/skip.h"
#include "support/task.h"

namespace holdfast::test {
namespace {

class UnusedInode : public FileRace {
 protected:
  static constexpr std::uint64_t kBytes = 64 * KiB;

  void SetUp() override {
    FileRace::SetUp();
    make_file("/file", kBytes);
  }
  File open() { return fs().open("/file", Open::read_write).value(); }
  // Tracks the pages, and closes.
  void touch_and_close() {
    File file = open();
    static_cast<void>(file.pin(0, kBytes).value());
    EXPECT_EQ(references(), kBytes / kPage);
  }
  void expect_nothing_left() {
    open().truncate(0).value();
    EXPECT_EQ(references(), 0U);
  }
};

// R21: entries go while nobody uses them; the next touch counts each page once, and the truncate takes it.
TEST_F(UnusedInode, R21_CleanEntriesGoAndComeBack) {
  for (int round = 0; round < 3; ++round) {
    touch_and_close();
    drop_unused();
    EXPECT_EQ(references(), 0U) << "a removal left a reference";
    File file = open();
    {
      const Window window = file.map(0, kBytes).value();
      EXPECT_EQ(std::to_integer<char>(window.data()[5 * kPage]), 'x');
      const Pin pin = file.pin(5 * kPage, kPage).value();
      EXPECT_EQ(refcount_of(file, 5 * kPage), 2U);
    }
    EXPECT_EQ(refcount_of(file, 5 * kPage), 1U);
    file.truncate(0).value();
    EXPECT_EQ(references(), 0U);
    file.write(0, bytes(kBytes, 'x')).value();
  }
}

// A pinned file is no candidate, although nobody has it open: who opens it again finds the pin, and a truncate waits.
TEST_F(UnusedInode, R21_APinnedFileStays) {
  std::optional<Pin> pin = open().pin(3 * kPage, kPage, {.access = Access::write}).value();
  drop_unused();
  EXPECT_EQ(fs().pins().size(), 1U);
  File file = open();
  EXPECT_EQ(refcount_of(file, 3 * kPage), 2U);
  MarkCount sleeps("layout.break.sleeps");
  Task cutting([&] { return code_of(file.truncate(0)); });
  ASSERT_TRUE(sleeps.wait_until(1)) << "the pin was forgotten with the inode";
  EXPECT_EQ(text_of(*pin), std::string(kPage, 'x'));
  pin.reset();
  EXPECT_EQ(cutting.get(), 0);
  EXPECT_EQ(references(), 0U);
}

// The unpin comes before the look, and the file goes; or it has not stepped down, and the file stays.
TEST_F(UnusedInode, R20_TheUnpinMeetsTheDrop) {
  {
    std::optional<Pin> pin = open().pin(0, kPage).value();
    MarkStop drops("inode_table.drops");
    Task dropping([&] {
      drop_unused();
      return true;
    });
    ASSERT_TRUE(drops.wait_until_stopped());
    pin.reset();
    drops.go_on();
    EXPECT_TRUE(dropping.get());
    EXPECT_EQ(references(), 0U);
  }
  std::optional<Pin> pin = open().pin(0, kPage).value();
  MarkStop nameless("pin.nameless");
  Task releasing([&] {
    pin.reset();
    return true;
  });
  ASSERT_TRUE(nameless.wait_until_stopped());
  // Used last: its inode, whose mapping waits for the epoch of the unpin to end, is dropped behind the file's.
  fs().list("/", [](const DirectoryEntry&) { return true; }).value();
  MarkCount looks("inode_table.drops");
  Task dropping([&] {
    drop_unused();
    return true;
  });
  ASSERT_TRUE(looks.wait_until(2));
  EXPECT_EQ(references(), 1U) << "a count was overlooked";
  nameless.go_on();
  EXPECT_TRUE(releasing.get());
  EXPECT_TRUE(dropping.get());
  drop_unused();
  EXPECT_EQ(references(), 0U);
  expect_nothing_left();
}

// The file is opened while it is being dropped: the open waits, and gets an inode of its own. Then it is pinned,
// touched, read and cut like any.
TEST_F(UnusedInode, R20_AnOpenComesDuringTheDrop) {
  enum class Use { pin, touch, read, truncate };
  for (const Use use : {Use::pin, Use::touch, Use::read, Use::truncate}) {
    SCOPED_TRACE(static_cast<int>(use));
    touch_and_close();
    MarkStop drops("inode_table.drops");
    Task dropping([&] {
      drop_unused();
      return true;
    });
    ASSERT_TRUE(drops.wait_until_stopped());
    MarkCount waits("inode_table.waits");
    Task user([&] {
      File file = open();
      switch (use) {
        case Use::pin:
          return text_of(file.pin(0, kPage, {.access = Access::write}).value()) == std::string(kPage, 'x');
        case Use::touch:
          return std::to_integer<char>(file.map(0, kBytes).value().data()[5 * kPage]) == 'x';
        case Use::read:
          return text_of(file, 0, kBytes) == std::string(kBytes, 'x');
        case Use::truncate:
          return code_of(file.truncate(kPage)) == 0 && file.size() == kPage;
      }
      return false;
    });
    ASSERT_TRUE(waits.wait_until(1)) << "somebody got the inode that goes";
    EXPECT_FALSE(user.done());
    drops.go_on();
    EXPECT_TRUE(dropping.get());
    EXPECT_TRUE(user.get());
    open().truncate(0).value();
    EXPECT_EQ(references(), 0U);
    open().write(0, bytes(kBytes, 'x')).value();
  }
}

// The other arm: the file is open again when the drop comes to it.
TEST_F(UnusedInode, R20_AnOpenComesBeforeTheDrop) {
  touch_and_close();
  File file = open();
  const Window window = file.map(0, kBytes).value();
  drop_unused();
  EXPECT_EQ(references(), kBytes / kPage) << "entries were taken from under a handle";
  EXPECT_EQ(std::to_integer<char>(window.data()[0]), 'x');
  EXPECT_EQ(refcount_of(file, 0), 1U);
  expect_nothing_left();
}

// --- R21 on entries: the removal that drops entries without taking pages from the file, under a pin ---

class CleanRemoval : public FileFixture, public ::testing::WithParamInterface<unsigned> {
 protected:
  Order order() const { return Order(GetParam()); }
  static constexpr std::uint64_t kAt = 512;
  void drop_entries() {
    ASSERT_TRUE(file_->close_gate(kWhole, Nanoseconds(0)));
    static_cast<void>(file_->zap(kWhole));
    file_->remove(kWhole);
    file_->open_gate(kWhole);
  }
  std::uint32_t refcount() { return map_->refcount(page_of(kAt)); }
  void truncate() {
    auto one = layout::Break::wait(*file_, kWhole, {});
    ASSERT_TRUE(one);
    auto commit = one->commit();
    ASSERT_TRUE(commit);
    commit->remove_entries();
  }
};

TEST_P(CleanRemoval, R21_UnderAPinThenTouchedThenTruncated) {
  insert(kAt, order());
  const mapping::PinnedRun run = pinned(kAt);
  drop_entries();
  EXPECT_EQ(refcount(), 1U) << "the pin alone";
  EXPECT_EQ(insert(kAt, order()), order() == kOrder4K ? InsertOutcome::inserted : InsertOutcome::conflict)
      << "no unit forms over a page that is in use";
  if (order() != kOrder4K) {
    EXPECT_EQ(insert(kAt), InsertOutcome::inserted);
  }
  EXPECT_EQ(refcount(), 2U);
  MarkCount sleeps("layout.break.sleeps");
  Task cutting([&] {
    truncate();
    return true;
  });
  ASSERT_TRUE(sleeps.wait_until(1)) << "the pin was forgotten with the entry";
  unpin(run);
  EXPECT_TRUE(cutting.get());
  EXPECT_EQ(refcount(), 0U);
}

// The unpin is in its last step when the page is touched again: before the step, then it is not the last reference; and
// after it, then its owner hears of it and finds the page in use.
TEST_P(CleanRemoval, R21_TheTouchMeetsTheLastUnpin) {
  for (const bool stepped : {false, true}) {
    SCOPED_TRACE(stepped);
    const std::size_t told = owner_.puts().size();
    insert(kAt, order());
    const mapping::PinnedRun run = pinned(kAt);
    drop_entries();
    MarkStop stop(stepped ? "pagemap.last_put" : "pagemap.owner_read");
    Task releasing([&] {
      unpin(run);
      return true;
    });
    ASSERT_TRUE(stop.wait_until_stopped());
    const bool whole = order() == kOrder4K || stepped;
    EXPECT_EQ(insert(kAt, whole ? order() : kOrder4K), InsertOutcome::inserted);
    EXPECT_EQ(refcount(), stepped ? 1U : 2U);
    stop.go_on();
    EXPECT_TRUE(releasing.get());
    EXPECT_EQ(refcount(), 1U);
    EXPECT_EQ(owner_.puts().size() - told, order() == kOrder4K && !stepped ? 0U : 1U);
    EXPECT_EQ(broken(), "");
    truncate();
    EXPECT_EQ(refcount(), 0U);
    EXPECT_EQ(map_->references(), 0U);
  }
}

INSTANTIATE_TEST_SUITE_P(Orders, CleanRemoval, ::testing::Values(0U, 9U),
                         [](const auto& each) { return each.param == 0 ? "page" : "unit"; });

}  // namespace
}  // namespace holdfast::test
