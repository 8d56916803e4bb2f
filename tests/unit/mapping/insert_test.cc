// Goal: an index gets its page with exactly one reference, or nothing changes. Method: insert into every kind of state,
// at every order, with each failure injected; units formed and refused.
#include <gtest/gtest.h>

#include <cerrno>

#include "support/file_fixture.h"

namespace holdfast::mapping {
namespace {

class InsertTest : public test::FileFixture {
 protected:
  int insert_error(std::uint64_t index, Order order = kOrder4K) {
    auto result = file_->insert(PageIndex(index), page_of(index), order, Deadline());
    return result ? 0 : result.error().code();
  }
  pagemap::CountWord word(std::uint64_t index, Order order = kOrder4K) { return map_->read(page_of(index), order); }
};

TEST_F(InsertTest, TakesOneReferenceOfTheUnitAtEveryOrder) {
  const std::uint64_t unit_2m = 3 * 512;
  const std::uint64_t unit_1g = 1U << 18;
  EXPECT_EQ(insert(5), InsertOutcome::inserted);
  EXPECT_EQ(insert(unit_2m, kOrder2M), InsertOutcome::inserted);
  EXPECT_EQ(insert(unit_1g, kOrder1G), InsertOutcome::inserted);
  EXPECT_EQ(map_->references(), 3U);
  EXPECT_EQ(word(5).tracked(), 1U);
  EXPECT_EQ(word(unit_2m, kOrder2M).tracked(), 1U);
  EXPECT_EQ(word(unit_1g, kOrder1G).tracked(), 1U);
  EXPECT_EQ(word(unit_2m).refcount(), 0U) << "a unit's pages have no counts of their own";
  EXPECT_EQ(lookup(unit_2m + 511), Entry::real(page_of(unit_2m), kOrder2M));
  EXPECT_EQ(lookup(unit_1g + 777), Entry::real(page_of(unit_1g), kOrder1G));
  EXPECT_EQ(file_->tracked_pages(), PageCount(1 + 512 + (1U << 18)));
  EXPECT_EQ(broken(), "");
}

TEST_F(InsertTest, ASecondInsertChangesNothing) {
  insert(512, kOrder2M);
  EXPECT_EQ(insert(512 + 5), InsertOutcome::already_there);
  EXPECT_EQ(insert(512, kOrder2M), InsertOutcome::already_there);
  EXPECT_EQ(word(512, kOrder2M).tracked(), 1U);
  EXPECT_EQ(map_->references(), 1U);
}

TEST_F(InsertTest, SmallerEntriesAreAConflict) {
  insert(512 + 5);
  EXPECT_EQ(insert(512, kOrder2M), InsertOutcome::conflict);
  EXPECT_EQ(insert(0, kOrder1G), InsertOutcome::conflict);
  EXPECT_EQ(file_->tracked_pages(), PageCount(1));
}

TEST_F(InsertTest, AUnitDoesNotFormOverAPageThatSomebodyElseUses) {
  test::RecordingOwner owner;
  Mapping other(*map_, owner, {7, 13});
  ASSERT_EQ(other.insert(PageIndex(9), page_of(512 + 9), kOrder4K, Deadline()).value(), InsertOutcome::inserted);
  EXPECT_EQ(insert(512, kOrder2M), InsertOutcome::conflict);
  static_cast<void>(other.zap(kWhole));
  other.remove(kWhole);
  EXPECT_EQ(insert(512, kOrder2M), InsertOutcome::inserted);
}

// D1: after a zap that took nothing away, the page counts again and is found by the next zap.
TEST_F(InsertTest, AReFaultRevivesAZappedEntryAtItsOrder) {
  insert(512, kOrder2M);
  file_->set_mark(PageIndex(512), EntryMark::dirty);
  EXPECT_FALSE(file_->zap(kWhole));
  EXPECT_EQ(map_->references(), 0U);
  PinnedRun run;
  EXPECT_EQ(pin(515, run), PinOutcome::absent);
  EXPECT_EQ(insert(515), InsertOutcome::inserted);
  EXPECT_EQ(lookup(512), Entry::real(page_of(512), kOrder2M));
  EXPECT_EQ(word(512, kOrder2M).tracked(), 1U);
  EXPECT_TRUE(file_->marked(PageIndex(600), EntryMark::dirty)) << "a zap loses no dirty mark";
  run = pinned(515);
  EXPECT_TRUE(file_->zap(pages_at(515)));
  unpin(run);
}

TEST_F(InsertTest, AZappedEntryOfABlockThatIsGoneIsReplaced) {
  insert(5);
  insert(512, kOrder2M);
  file_->set_mark(PageIndex(5), EntryMark::dirty);
  static_cast<void>(file_->zap(kWhole));
  EXPECT_EQ(insert(5, Pfn(77), kOrder4K), InsertOutcome::inserted);
  EXPECT_EQ(lookup(5).pfn(), Pfn(77));
  EXPECT_FALSE(file_->marked(PageIndex(5), EntryMark::dirty)) << "the mark spoke of the old block";
  EXPECT_EQ(insert(512 + 3, Pfn(78), kOrder4K), InsertOutcome::inserted);
  EXPECT_TRUE(lookup(512).none());
  EXPECT_EQ(map_->references(), 2U);
  EXPECT_EQ(broken(), "");
}

TEST_F(InsertTest, EmptyAndZeroEntriesGiveWay) {
  static_cast<void>(file_->lock_entry(PageIndex(512), kOrder2M, Deadline()).value().set_zero());
  EXPECT_EQ(insert(512, kOrder2M), InsertOutcome::inserted);
  file_->lock_entry(PageIndex(1024), kOrder2M, Deadline()).value().set_zero();
  EXPECT_EQ(insert(1024 + 5), InsertOutcome::inserted);
  EXPECT_EQ(lookup(1024 + 5), Entry::real(page_of(1024 + 5), kOrder4K));
  EXPECT_TRUE(lookup(1024).none());
  EXPECT_EQ(broken(), "");
}

TEST_F(InsertTest, AFailureChangesNothing) {
  insert(5);
  static_cast<void>(file_->zap(kWhole));
  // A full count.
  const Pfn full = page_of(7);
  for (unsigned i = 0; i < 127; ++i) ASSERT_TRUE(map_->track(full, kOrder4K, file_->owner_id(), PageIndex(7)));
  EXPECT_EQ(insert_error(7), EMLINK);
  EXPECT_TRUE(lookup(7).none());
  for (unsigned i = 0; i < 127; ++i) map_->untrack(full, kOrder4K);
  // No node.
  fault_point::arm("mapping.node", 1);
  EXPECT_EQ(insert_error(1000), ENOMEM);
  EXPECT_TRUE(lookup(1000).none());
  EXPECT_EQ(word(1000).raw, 0U);
  // The device goes.
  map_->close();
  EXPECT_EQ(insert_error(9), ENODEV);
  EXPECT_TRUE(lookup(9).none());
  EXPECT_EQ(insert_error(5), ENODEV);
  EXPECT_TRUE(lookup(5).zapped()) << "the zapped entry stays as it was";
  EXPECT_EQ(map_->references(), 0U);
  EXPECT_EQ(broken(), "");
}

TEST_F(InsertTest, TheLastPageOfAFile) {
  const std::uint64_t last = (std::uint64_t{1} << 32) - 1;
  EXPECT_EQ(insert(last, Pfn(9), kOrder4K), InsertOutcome::inserted);
  unpin(pinned(last));
  EXPECT_EQ(broken(), "");
}

// Entries of several mappings on one page: each holds its own reference, and the last one gives the device back.
TEST_F(InsertTest, SharedPagesCountEachEntry) {
  test::RecordingOwner owner;
  Mapping other(*map_, owner, {7, 13});
  for (const auto& [mapping, index] : {std::pair(file_.get(), 5), std::pair(&other, 900)}) {
    const auto hold = mapping::Hold::enter(*mapping, pages_at(static_cast<std::uint64_t>(index)), Deadline());
    ASSERT_EQ(mapping
                  ->insert(PageIndex(static_cast<std::uint64_t>(index)), page_of(5), kOrder4K, Deadline(),
                           mapping::Sharing::shared)
                  .value(),
              InsertOutcome::inserted);
  }
  EXPECT_EQ(word(5).tracked(), 2U);
  EXPECT_EQ(map_->references(), 1U);
  EXPECT_EQ(broken(), "");
  EXPECT_EQ(other.check().value_or(""), "");
  const PinnedRun run = pinned(5);
  EXPECT_TRUE(other.zap(kWhole, Mapping::Report::all)) << "a pin through one mapping is a pin for all";
  other.remove(kWhole);
  EXPECT_EQ(word(5).tracked(), 1U);
  unpin(pinned(5));
  unpin(run);
}

// --- units ---

TEST_F(InsertTest, AFilledUnitForms) {
  insert_pages(512, 512);
  file_->set_mark(PageIndex(700), EntryMark::dirty);
  ASSERT_TRUE(file_->try_form_unit(PageIndex(512), page_of(512), kOrder2M));
  EXPECT_EQ(lookup(700), Entry::real(page_of(512), kOrder2M));
  EXPECT_EQ(map_->references(), 1U);
  EXPECT_EQ(word(700).refcount(), 0U);
  EXPECT_EQ(word(512, kOrder2M).tracked(), 1U);
  EXPECT_EQ(file_->tracked_pages(), PageCount(512));
  EXPECT_TRUE(file_->marked(PageIndex(512), EntryMark::dirty));
  unpin(pinned(700));
}

TEST_F(InsertTest, AGigabyteFormsFromUnits) {
  for (std::uint64_t unit = 0; unit < 512; ++unit) insert(unit * 512, kOrder2M);
  ASSERT_TRUE(file_->try_form_unit(PageIndex(0), page_of(0), kOrder1G));
  EXPECT_EQ(lookup((1U << 18) - 1), Entry::real(page_of(0), kOrder1G));
  EXPECT_EQ(map_->references(), 1U);
}

TEST_F(InsertTest, AUnitDoesNotFormOverWhatIsHeldOrMissing) {
  const auto forms = [&] { return file_->try_form_unit(PageIndex(512), page_of(512), kOrder2M); };
  insert_pages(512, 511);
  EXPECT_FALSE(forms()) << "a page is missing";
  EXPECT_EQ(insert(1023, Pfn(5), kOrder4K), InsertOutcome::inserted);
  EXPECT_FALSE(forms()) << "a page lies elsewhere";
  static_cast<void>(file_->zap(pages_at(1023)));
  file_->remove(pages_at(1023));
  insert(1023);
  const PinnedRun run = pinned(600);
  EXPECT_FALSE(forms()) << "a page is pinned";
  unpin(run);
  {
    const auto locked = file_->lock_entry(PageIndex(600), kOrder4K, Deadline());
    EXPECT_FALSE(forms()) << "an entry is locked";
  }
  Mapping::BreakMark mark = file_->queue_mark(pages_at(600));
  ASSERT_TRUE(file_->try_activate(mark));
  EXPECT_FALSE(forms()) << "a break is under way";
  file_->unmark(mark);
  ASSERT_TRUE(map_->track(page_of(700), kOrder4K, file_->owner_id(), PageIndex(700)));
  EXPECT_FALSE(forms()) << "a page is shared";
  map_->untrack(page_of(700), kOrder4K);
  map_->close();
  EXPECT_FALSE(forms()) << "the device closes";
  EXPECT_EQ(broken(), "");
}

TEST_F(InsertTest, ARefusedUnitCountsAsBefore) {
  insert_pages(512, 512);
  fault_point::arm("mapping.node", 1);
  // Nothing but a tree that must grow needs memory, and this one must not: the failure goes to the next insert.
  ASSERT_TRUE(map_->track(page_of(1023), kOrder4K, file_->owner_id(), PageIndex(1023)));
  EXPECT_FALSE(file_->try_form_unit(PageIndex(512), page_of(512), kOrder2M));
  map_->untrack(page_of(1023), kOrder4K);
  for (std::uint64_t i = 512; i < 1024; ++i) EXPECT_EQ(word(i).tracked(), 1U) << i;
  EXPECT_EQ(word(512, kOrder2M).refcount(), 0U);
  EXPECT_EQ(map_->references(), 512U);
  EXPECT_EQ(file_->tracked_pages(), PageCount(512));
}

}  // namespace
}  // namespace holdfast::mapping
