// Goal: zap returns each reference once, removes translations before it does, and remove leaves nothing. Method: every
// kind of entry, zapped twice, pinned or not, across batch and unit ends; what was told to the window recorded.
#include <gtest/gtest.h>

#include <vector>

#include "support/file_fixture.h"
#include "support/mark_stop.h"
#include "support/task.h"

namespace holdfast::mapping {
namespace {

class ZapTest : public test::FileFixture {};

TEST_F(ZapTest, ReturnsEachReferenceOnce) {
  insert_pages(0, 600);
  insert(1024, kOrder2M);
  insert(1U << 18, kOrder1G);
  EXPECT_EQ(map_->references(), 602U);
  EXPECT_FALSE(file_->zap(kWhole));
  EXPECT_EQ(map_->references(), 0U);
  EXPECT_EQ(file_->tracked_pages(), PageCount(0));
  EXPECT_EQ(file_->entry_pages(), PageCount(600 + 512 + (1U << 18)));
  EXPECT_FALSE(file_->zap(kWhole)) << "a second time nothing is left to return";
  EXPECT_TRUE(lookup(5).zapped());
  EXPECT_EQ(broken(), "");
  file_->remove(kWhole);
  EXPECT_EQ(file_->entry_pages(), PageCount(0));
  EXPECT_TRUE(owner_.puts().empty()) << "nobody unpinned anything";
}

TEST_F(ZapTest, TouchesOnlyItsRangeAndWholeUnits) {
  insert_pages(0, 20);
  insert(512, kOrder2M);
  EXPECT_FALSE(file_->zap(pages_at(5, 600)));
  EXPECT_FALSE(lookup(4).zapped());
  EXPECT_TRUE(lookup(5).zapped() && lookup(19).zapped() && lookup(1023).zapped());
  file_->remove(pages_at(5, 600));
  EXPECT_TRUE(lookup(5).none() && lookup(1023).none());
  EXPECT_TRUE(lookup(4).tracks());
}

TEST_F(ZapTest, NamesTheFirstPinnedUnitAndZapsTheRest) {
  insert_pages(0, 600);
  const PinnedRun first = pinned(100);
  const PinnedRun second = pinned(500);
  const auto busy = file_->zap(kWhole);
  ASSERT_TRUE(busy);
  EXPECT_EQ(busy->index, PageIndex(100));
  EXPECT_TRUE(lookup(599).zapped());
  EXPECT_EQ(map_->references(), 2U);
  unpin(first);
  EXPECT_EQ(file_->zap(kWhole)->index, PageIndex(500));
  unpin(second);
  EXPECT_FALSE(file_->zap(kWhole));
  EXPECT_EQ(owner_.puts().size(), 2U) << "each last unpin was told";
}

TEST_F(ZapTest, ADetachedUnitLosesItsEntryAndKeepsItsPin) {
  insert(512, kOrder2M);
  const PinnedRun run = pinned(700);
  EXPECT_TRUE(file_->zap(kWhole));
  file_->remove(kWhole);
  EXPECT_TRUE(lookup(700).none());
  EXPECT_FALSE(map_->idle(page_of(1000)));
  EXPECT_TRUE(owner_.puts().empty());
  unpin(run);
  EXPECT_TRUE(map_->idle(page_of(1000)));
  EXPECT_EQ(owner_.puts(), (std::vector<std::pair<Pfn, Order>>{{page_of(512), kOrder2M}}));
}

// S6: translations are gone before the reference is.
TEST_F(ZapTest, TranslationsGoFirst) {
  struct Window final : TranslationRemover {
    explicit Window(pagemap::PageMap& of) : map(of) {}
    void remove_translations(PageRange range) override {
      ranges.push_back(range);
      references = map.references();
    }
    pagemap::PageMap& map;
    std::vector<PageRange> ranges;
    std::uint64_t references = 0;
  } window(*map_);
  file_->set_translation_remover(&window);
  insert_pages(0, 5);
  EXPECT_FALSE(file_->zap(pages_at(0, 3)));
  EXPECT_EQ(window.ranges, std::vector{pages_at(0, 3)});
  EXPECT_EQ(window.references, 5U);
  EXPECT_EQ(map_->references(), 2U);
  file_->set_translation_remover(nullptr);
}

TEST_F(ZapTest, EmptyAndZeroEntriesAreNoPages) {
  file_->lock_entry(PageIndex(5), kOrder4K, Deadline()).value().set_zero();
  file_->lock_entry(PageIndex(512), kOrder2M, Deadline()).value().set_zero();
  EXPECT_FALSE(file_->zap(kWhole));
  EXPECT_TRUE(lookup(5).is_zero());
  file_->remove(kWhole);
  EXPECT_TRUE(lookup(5).none() && lookup(512).none());
}

TEST_F(ZapTest, DirtyMarksStayUntilTheEntryIsErased) {
  insert_pages(0, 10);
  file_->set_mark(PageIndex(3), EntryMark::dirty);
  file_->set_mark(PageIndex(7), EntryMark::dirty);
  file_->set_mark(PageIndex(70), EntryMark::dirty);  // nothing there
  static_cast<void>(file_->zap(kWhole));
  EXPECT_EQ(file_->first_marked(kWhole, EntryMark::dirty)->index, PageIndex(3));
  file_->remove(pages_at(0, 5));
  EXPECT_EQ(file_->first_marked(kWhole, EntryMark::dirty)->index, PageIndex(7));
  file_->clear_mark(PageIndex(7), EntryMark::dirty);
  EXPECT_FALSE(file_->first_marked(kWhole, EntryMark::dirty));
}

TEST_F(ZapTest, RemoveRefusesWhatWasNotZapped) {
  insert(5);
  EXPECT_DEATH(file_->remove(kWhole), "M3");
}

}  // namespace
}  // namespace holdfast::mapping
