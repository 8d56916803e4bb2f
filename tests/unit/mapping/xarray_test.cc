// Goal: the tree is a map from index to entry, for every order and up to the last index. Method: each operation by hand
// where it is special, then random programs against a std::map, with X1..X4 checked along the way.
#include "mapping/xarray.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <random>
#include <set>

#include "base/epoch.h"
#include "base/fault_point.h"

namespace holdfast::mapping {
namespace {

constexpr std::uint64_t kLast = (std::uint64_t{1} << 32) - 1;  // of an ext4 file
constexpr PageRange kWhole{PageIndex(0), kEndOfFile};

Entry entry_at(std::uint64_t index, Order order = kOrder4K) {
  return Entry::real(Pfn(index ^ (std::uint64_t{1} << 40)).align_down(order), order);
}

class XArrayTest : public ::testing::Test {
 protected:
  ~XArrayTest() override {
    fault_point::disarm_all();
    EXPECT_STREQ(array_.check().value_or(""), "");
    epoch::flush();
  }
  void store(std::uint64_t index, Order order = kOrder4K) {
    ASSERT_TRUE(array_.store(PageIndex(index), entry_at(index, order)));
  }
  Entry load(std::uint64_t index) { return array_.load(PageIndex(index)); }

  XArray array_;
};

TEST_F(XArrayTest, AnEmptyTreeHasNothingAnywhere) {
  EXPECT_TRUE(array_.empty());
  for (const std::uint64_t index : {std::uint64_t{0}, std::uint64_t{63}, kLast, kEndOfFile.raw() - 1}) {
    EXPECT_TRUE(load(index).none());
  }
  EXPECT_FALSE(array_.find(kWhole));
  EXPECT_FALSE(array_.find_marked(kWhole, EntryMark::dirty));
}

TEST_F(XArrayTest, GrowsToTheLastIndexAndShrinksBack) {
  store(0);
  EXPECT_EQ(array_.nodes(), 1U);
  store(kLast);
  store(kEndOfFile.raw() - 1);
  EXPECT_EQ(load(0), entry_at(0));
  EXPECT_EQ(load(kLast), entry_at(kLast));
  EXPECT_TRUE(load(kLast - 1).none());
  EXPECT_TRUE(load(kLast + 1).none());
  EXPECT_EQ(load(kEndOfFile.raw() - 1), entry_at(kEndOfFile.raw() - 1));
  EXPECT_EQ(array_.find({PageIndex(1), kEndOfFile})->index, PageIndex(kLast));
  EXPECT_EQ(array_.find({PageIndex(kLast + 1), kEndOfFile})->index, PageIndex(kEndOfFile.raw() - 1));
  array_.erase(PageIndex(kEndOfFile.raw() - 1));
  array_.erase(PageIndex(kLast));
  EXPECT_EQ(array_.nodes(), 1U);
  EXPECT_EQ(load(0), entry_at(0));
  array_.erase(PageIndex(0));
  EXPECT_TRUE(array_.empty());
  EXPECT_EQ(array_.nodes(), 0U);
}

TEST_F(XArrayTest, ALargeEntryCoversItsUnitAndNoMore) {
  for (const Order order : {kOrder2M, kOrder1G}) {
    const std::uint64_t first = 3 * order.pages().raw();
    const std::uint64_t end = first + order.pages().raw();
    store(first, order);
    EXPECT_TRUE(load(first - 1).none());
    EXPECT_TRUE(load(end).none());
    for (const std::uint64_t index :
         {first, first + 1, first + 63, first + 64, first + order.pages().raw() / 2, end - 1}) {
      EXPECT_EQ(load(index), entry_at(first, order)) << index;
      const auto found = array_.find({PageIndex(index), PageIndex(index + 1)});
      ASSERT_TRUE(found) << index;
      EXPECT_EQ(found->index, PageIndex(first));
    }
    EXPECT_FALSE(array_.find({PageIndex(0), PageIndex(first)}));
    EXPECT_FALSE(array_.find({PageIndex(end), kEndOfFile}));
    array_.erase(PageIndex(end - 1));  // by any of its pages
    EXPECT_TRUE(array_.empty());
  }
}

TEST_F(XArrayTest, ALargeEntryAtTheLastUnitOfAFile) {
  store(kLast + 1 - 512, kOrder2M);
  EXPECT_EQ(load(kLast), entry_at(kLast + 1 - 512, kOrder2M));
  EXPECT_TRUE(load(kLast + 1).none());
}

TEST_F(XArrayTest, LoadRunAgreesWithLoad) {
  store(62);
  store(63);
  store(64);
  store(512, kOrder2M);
  std::array<Entry, XArray::kRun> run;
  EXPECT_EQ(array_.load_run(PageIndex(61), 64, run), 3U);  // to the end of the leaf
  EXPECT_TRUE(run[0].none());
  EXPECT_EQ(run[1], entry_at(62));
  EXPECT_EQ(run[2], entry_at(63));
  EXPECT_EQ(array_.load_run(PageIndex(64), 1, run), 1U);
  EXPECT_EQ(run[0], entry_at(64));
  EXPECT_EQ(array_.load_run(PageIndex(700), 64, run), 1U);
  EXPECT_EQ(run[0], entry_at(512, kOrder2M));
  EXPECT_EQ(array_.load_run(PageIndex(200), 64, run), 1U);
  EXPECT_TRUE(run[0].none());
  EXPECT_EQ(array_.load_run(PageIndex(kLast), 64, run), 1U);
  EXPECT_TRUE(run[0].none());
}

TEST_F(XArrayTest, AStoreWithoutMemoryLeavesNothingBehind) {
  store(1);
  const std::size_t nodes = array_.nodes();
  // One failure for each node that the store would make: roots above, children below.
  for (unsigned at = 1;; ++at) {
    fault_point::disarm_all();
    fault_point::arm("mapping.node", at);
    if (array_.store(PageIndex(kLast), entry_at(kLast))) {
      EXPECT_GT(at, 8U) << "the store makes five roots and five children";
      break;
    }
    EXPECT_EQ(array_.nodes(), nodes) << at;
    EXPECT_STREQ(array_.check().value_or(""), "") << at;
    EXPECT_EQ(load(1), entry_at(1));
    EXPECT_TRUE(load(kLast).none());
  }
}

TEST_F(XArrayTest, FormTakesTheSmallEntriesAndTheirMarks) {
  for (std::uint64_t i = 0; i < 512; ++i) store(512 + i);
  store(5);
  array_.set_mark(PageIndex(512 + 77), EntryMark::dirty);
  ASSERT_TRUE(array_.form(PageIndex(512), entry_at(512, kOrder2M)));
  EXPECT_EQ(load(512 + 77), entry_at(512, kOrder2M));
  EXPECT_TRUE(array_.marked(PageIndex(600), EntryMark::dirty));
  EXPECT_FALSE(array_.marked(PageIndex(600), EntryMark::towrite));
  EXPECT_EQ(array_.find_marked(kWhole, EntryMark::dirty)->index, PageIndex(512));
  EXPECT_EQ(load(5), entry_at(5));
}

TEST_F(XArrayTest, FormOfAGigabyteFromUnitsAndPages) {
  for (std::uint64_t unit = 0; unit < 511; ++unit) store(unit * 512, kOrder2M);
  for (std::uint64_t i = 0; i < 512; ++i) store(511 * 512 + i);
  // The tree is exactly as high as the unit: the slot for it needs one more root.
  fault_point::arm("mapping.node", 1);
  EXPECT_FALSE(array_.form(PageIndex(0), entry_at(0, kOrder1G)));
  EXPECT_EQ(load(512), entry_at(512, kOrder2M));
  EXPECT_STREQ(array_.check().value_or(""), "");
  ASSERT_TRUE(array_.form(PageIndex(0), entry_at(0, kOrder1G)));
  EXPECT_EQ(load((1U << 18) - 1), entry_at(0, kOrder1G));
  EXPECT_TRUE(load(1U << 18).none());
}

// X1: a reader that stands in a node that left the tree sees nothing there, not what was there once.
TEST_F(XArrayTest, AReaderOfAStaleNodeSeesNothingOld) {
  const epoch::Guard guard;
  std::array<Entry, XArray::kRun> before;
  for (std::uint64_t i = 0; i < 64; ++i) store(i);
  EXPECT_EQ(array_.load_run(PageIndex(0), 64, before), 64U);
  for (std::uint64_t i = 0; i < 64; ++i) array_.erase(PageIndex(i));
  std::array<Entry, XArray::kRun> after;
  EXPECT_EQ(array_.load_run(PageIndex(0), 64, after), 1U);
  EXPECT_TRUE(after[0].none());
}

TEST_F(XArrayTest, TheCursorMayEraseAndReplaceAsItGoes) {
  for (std::uint64_t i = 0; i < 200; ++i) store(i);
  store(512, kOrder2M);
  store(5000);
  XArray::Cursor cursor(array_, {PageIndex(10), PageIndex(600)});
  std::uint64_t expected = 10;
  while (cursor.next()) {
    EXPECT_EQ(cursor.index().raw(), expected);
    if (expected % 2 == 0) {
      cursor.erase();
    } else {
      cursor.replace(cursor.entry().with_zap());
    }
    expected = expected == 199 ? 512 : expected + 1;
  }
  EXPECT_TRUE(load(10).none());
  EXPECT_TRUE(load(11).zapped());
  EXPECT_TRUE(load(513).none()) << "the unit that straddles the end was erased";
  EXPECT_EQ(load(9), entry_at(9));
  EXPECT_EQ(load(5000), entry_at(5000));
}

// --- the model ---

struct Model {
  std::map<std::uint64_t, Entry> entries;
  std::array<std::set<std::uint64_t>, 3> marks;

  auto covering(std::uint64_t index) const {
    auto at = entries.upper_bound(index);
    if (at == entries.begin()) return entries.end();
    --at;
    return index < at->first + at->second.order().pages().raw() ? at : entries.end();
  }
  // The first entry that ends behind `index`.
  auto from(std::uint64_t index) const {
    const auto at = covering(index);
    return at != entries.end() ? at : entries.lower_bound(index);
  }
  bool free(std::uint64_t first, std::uint64_t end) const {
    const auto at = from(first);
    return at == entries.end() || at->first >= end;
  }
};

class XArrayModel : public ::testing::TestWithParam<std::uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Seeds, XArrayModel, ::testing::Range(std::uint64_t{1}, std::uint64_t{13}));

TEST_P(XArrayModel, RandomProgramsAgreeWithAMap) {
  std::mt19937_64 random(GetParam());
  XArray array;
  Model model;
  // Indexes crowd near a few places, so that entries meet.
  const std::array<std::uint64_t, 5> places = {0, 500, 1U << 18, kLast - 700, (std::uint64_t{1} << 40) - 300};
  const auto pick = [&] {
    return places.at(random() % places.size()) + random() % (random() % 8 == 0 ? 600000 : 1400);
  };
  for (unsigned step = 0; step < 6000; ++step) {
    SCOPED_TRACE(step);
    const std::uint64_t index = pick();
    const auto mark = static_cast<EntryMark>(random() % 3);
    const auto covering = model.covering(index);
    switch (random() % 8) {
      case 0:
      case 1:
      case 2: {
        const std::uint64_t roll = random() % 16;
        const Order order = roll == 0 ? kOrder1G : roll < 4 ? kOrder2M : kOrder4K;
        const std::uint64_t first = PageIndex(index).align_down(order).raw();
        if (!model.free(first, first + order.pages().raw())) break;
        ASSERT_TRUE(array.store(PageIndex(first), entry_at(first, order)));
        model.entries[first] = entry_at(first, order);
        break;
      }
      case 3: {
        if (covering == model.entries.end()) break;
        array.erase(PageIndex(index));
        for (auto& marks : model.marks) marks.erase(covering->first);
        model.entries.erase(covering);
        break;
      }
      case 4: {
        if (covering == model.entries.end()) break;
        const Entry other = Entry::from_raw(covering->second.raw() ^ Entry().with_zap().raw());
        EXPECT_EQ(array.replace(PageIndex(index), other), covering->second);
        model.entries[covering->first] = other;
        break;
      }
      case 5:
        if (covering == model.entries.end()) break;
        array.set_mark(PageIndex(index), mark);
        model.marks.at(static_cast<std::size_t>(mark)).insert(covering->first);
        break;
      case 6:
        array.clear_mark(PageIndex(index), mark);
        if (covering != model.entries.end()) model.marks.at(static_cast<std::size_t>(mark)).erase(covering->first);
        break;
      default: {  // erase a stretch with a cursor, of any length
        if (random() % 32 != 0) break;
        const std::uint64_t end = random() % 4 == 0 ? kEndOfFile.raw() : index + random() % 3000;
        XArray::Cursor cursor(array, {PageIndex(index), PageIndex(end)});
        while (cursor.next()) {
          ASSERT_EQ(model.from(index)->first, cursor.index().raw());
          for (auto& marks : model.marks) marks.erase(cursor.index().raw());
          model.entries.erase(cursor.index().raw());
          cursor.erase();
        }
        EXPECT_TRUE(model.free(index, end));
      }
    }
    const std::uint64_t probe = pick();
    const auto there = model.covering(probe);
    ASSERT_EQ(array.load(PageIndex(probe)), there == model.entries.end() ? Entry() : there->second) << probe;
    const auto next = array.find({PageIndex(probe), kEndOfFile});
    const auto expected = model.from(probe);
    ASSERT_EQ(next.has_value(), expected != model.entries.end());
    if (next) {
      ASSERT_EQ(next->index.raw(), expected->first);
    }
    const auto next_marked = array.find_marked({PageIndex(probe), kEndOfFile}, mark);
    const auto& marks = model.marks.at(static_cast<std::size_t>(mark));
    auto expected_mark = marks.lower_bound(probe);
    if (there != model.entries.end() && marks.count(there->first) != 0) expected_mark = marks.find(there->first);
    ASSERT_EQ(next_marked.has_value(), expected_mark != marks.end());
    if (next_marked) {
      ASSERT_EQ(next_marked->index.raw(), *expected_mark);
    }
    if (step % 64 == 0) {
      ASSERT_STREQ(array.check().value_or(""), "");
    }
  }
  ASSERT_STREQ(array.check().value_or(""), "");
  std::size_t seen = 0;
  for (XArray::Cursor cursor(array, kWhole); cursor.next(); ++seen) {
    ASSERT_EQ(model.entries.at(cursor.index().raw()), cursor.entry());
  }
  EXPECT_EQ(seen, model.entries.size());
  EXPECT_GT(seen, 20U) << "the program built next to nothing";
  epoch::flush();
}

}  // namespace
}  // namespace holdfast::mapping
