// Goal: a mapping that keeps marks loses none. Method: entries that are marked, zapped, replaced and joined.
#include <gtest/gtest.h>

#include "mapping/mapping.h"

namespace holdfast::mapping {
namespace {

class Nobody final : public pagemap::PageOwner {
  void last_put(Pfn /*first*/, Order /*order*/) noexcept override {}
};

class Marks : public ::testing::Test {
 protected:
  ~Marks() override {
    EXPECT_EQ(file_.check(), std::nullopt);
    static_cast<void>(file_.zap(kAll));
    file_.remove(kAll);
  }
  static constexpr PageRange kAll{PageIndex(0), kEndOfFile};

  Mapping::InsertOutcome insert(std::uint64_t index, std::uint64_t pfn, Order order = kOrder4K) {
    return file_.insert(PageIndex(index), Pfn(pfn), order, Deadline::never()).value();
  }
  void mark(std::uint64_t index) { static_cast<void>(file_.mark_dirty(PageIndex(index), Deadline::never()).value()); }
  bool clean(std::uint64_t index) { return file_.lookup(PageIndex(index)).clean(); }
  std::uint64_t write_back(PageRange range = kAll) {
    std::uint64_t flushed = 0;
    file_
        .write_back(
            range,
            [&flushed](PageIndex /*index*/, Pfn /*pfn*/, PageCount count) {
              flushed += count.raw();
              return Status();
            },
            Deadline::never())
        .value();
    return flushed;
  }
  Mapping::PinOutcome pin(std::uint64_t index, Access access) {
    const epoch::Guard guard;
    return file_.try_pin_unit(PageIndex(index), run_, access).outcome;
  }

  Nobody owner_;
  std::unique_ptr<pagemap::PageMap> pages_ = pagemap::PageMap::create(PageCount(4096), nullptr).value();
  Mapping file_{*pages_, owner_, {1, 1}, holdfast::mapping::Marks::kept};
  PinnedRun run_;
};

TEST_F(Marks, WhoStoresMarksFirst) {
  insert(3, 700);
  EXPECT_TRUE(clean(3));
  EXPECT_EQ(pin(3, Access::write), Mapping::PinOutcome::absent);
  EXPECT_EQ(pin(3, Access::read), Mapping::PinOutcome::pinned);
  unpin(*pages_, run_);
  mark(3);
  EXPECT_FALSE(clean(3));
  EXPECT_EQ(write_back(), 1U);
  EXPECT_TRUE(clean(3));
  EXPECT_EQ(write_back(), 0U);
}

TEST_F(Marks, APinnedPageStaysDirty) {
  insert(3, 700);
  mark(3);
  EXPECT_EQ(pin(3, Access::write), Mapping::PinOutcome::pinned);
  EXPECT_EQ(write_back(), 1U);
  EXPECT_EQ(write_back(), 1U);
  EXPECT_FALSE(clean(3));
  unpin(*pages_, run_);
  EXPECT_EQ(write_back(), 1U);
  EXPECT_EQ(write_back(), 0U);
}

TEST_F(Marks, AnEntryThatWasZappedIsWrittenBack) {
  insert(3, 700);
  mark(3);
  static_cast<void>(file_.zap(kAll));
  insert(3, 700);
  EXPECT_FALSE(clean(3));
  static_cast<void>(file_.zap(kAll));
  EXPECT_EQ(write_back(), 1U);
}

// The mark of a zapped unit is all that knows of the rest of it.
TEST_F(Marks, ALargeEntryThatIsReplacedInPart) {
  insert(512, 1024, kOrder2M);
  mark(600);
  static_cast<void>(file_.zap(kAll));
  EXPECT_EQ(insert(530, 20), Mapping::InsertOutcome::dirty);
  EXPECT_EQ(write_back({PageIndex(530), PageIndex(531)}), 512U);
  EXPECT_EQ(insert(530, 20), Mapping::InsertOutcome::inserted);
  EXPECT_TRUE(clean(530));
}

TEST_F(Marks, AUnitIsDirtyIfAPartWas) {
  for (std::uint64_t page = 0; page < 1024; ++page) insert(page, 1024 + page);
  mark(100);
  ASSERT_TRUE(file_.try_form_unit(PageIndex(0), Pfn(1024), kOrder2M));
  ASSERT_TRUE(file_.try_form_unit(PageIndex(512), Pfn(1536), kOrder2M));
  EXPECT_FALSE(clean(0));
  EXPECT_TRUE(clean(512));
  EXPECT_EQ(write_back(), 512U);
}

TEST_F(Marks, AFlushThatFailsLeavesTheEntryDirty) {
  insert(3, 700);
  mark(3);
  const auto fails = [](PageIndex, Pfn, PageCount) { return Status(Error(EIO, "a device", "made to fail")); };
  EXPECT_FALSE(file_.write_back(kAll, fails, Deadline::never()));
  EXPECT_FALSE(clean(3));
  EXPECT_EQ(write_back(), 1U);
}

}  // namespace
}  // namespace holdfast::mapping
