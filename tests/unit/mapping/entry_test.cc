// Goal: the word of an entry says what was put into it (E1, E2). Method: every kind and order, flag by flag.
#include "mapping/entry.h"

#include <gtest/gtest.h>

namespace holdfast::mapping {
namespace {

TEST(Entry, NothingIsNoPageAndNotLocked) {
  constexpr Entry none;
  EXPECT_TRUE(none.none());
  EXPECT_FALSE(none.has_page() || none.tracks() || none.locked() || none.is_empty() || none.is_zero());
}

TEST(Entry, ARealEntryNamesItsPage) {
  for (const Order order : {kOrder4K, kOrder2M, kOrder1G}) {
    const Pfn pfn = Pfn(std::uint64_t{0x3FFFFFFFFFFF}).align_down(order);
    const Entry entry = Entry::real(pfn, order);
    EXPECT_EQ(entry.pfn(), pfn);
    EXPECT_EQ(entry.order(), order);
    EXPECT_TRUE(entry.has_page() && entry.tracks());
    EXPECT_EQ(entry.with_zap().pfn(), pfn);
    EXPECT_FALSE(entry.with_zap().tracks());
    EXPECT_TRUE(entry.with_zap().has_page());
    EXPECT_EQ(entry.with_zap().without_zap(), entry);
    EXPECT_TRUE(entry.with_lock().locked() && entry.with_lock().tracks());
    EXPECT_EQ(entry.with_lock().without_lock(), entry);
  }
}

TEST(Entry, EmptyAndZeroHaveAnOrderAndNoPage) {
  for (const Order order : {kOrder4K, kOrder2M, kOrder1G}) {
    for (const Entry entry : {Entry::empty(order), Entry::zero(order)}) {
      EXPECT_EQ(entry.order(), order);
      EXPECT_FALSE(entry.none() || entry.has_page() || entry.tracks());
      EXPECT_EQ(entry.raw() & 3U, 1U) << "the tree must take it for a value";
    }
    EXPECT_TRUE(Entry::empty(order).is_empty() && !Entry::empty(order).is_zero());
    EXPECT_TRUE(Entry::zero(order).is_zero() && !Entry::zero(order).is_empty());
  }
}

#if HOLDFAST_DEBUG_CHECKS
TEST(EntryDeathTest, APageOfAPagelessEntryIsNeverAskedFor) {
  EXPECT_DEATH(static_cast<void>(Entry::empty(kOrder4K).pfn()), "E1");
  EXPECT_DEATH(static_cast<void>(Entry::zero(kOrder2M).pfn()), "E1");
}
#endif

}  // namespace
}  // namespace holdfast::mapping
