// Goal: the facts of a count word do not overlap and fill it. Method: the masks, and words built from each fact alone.
#include "pagemap/page.h"

#include <gtest/gtest.h>

namespace holdfast::pagemap {
namespace {

TEST(CountWord, ItsFactsAreDisjointAndFillTheWord) {
  constexpr std::uint32_t facts[] = {CountWord::kPinMask, CountWord::kTrackedMask, CountWord::kBreak,
                                     CountWord::kWaiters, CountWord::kMoved};
  std::uint32_t all = 0;
  for (const std::uint32_t fact : facts) {
    EXPECT_EQ(all & fact, 0U);
    all |= fact;
  }
  EXPECT_EQ(all, ~0U);
}

TEST(CountWord, ReadsEachFactAlone) {
  const CountWord pins{CountWord::kPinMask};
  EXPECT_EQ(pins.pins(), 4'194'303U);
  EXPECT_EQ(pins.tracked(), 0U);
  const CountWord tracked{CountWord::kTrackedMask};
  EXPECT_EQ(tracked.tracked(), 127U);
  EXPECT_EQ(tracked.pins(), 0U);
  const CountWord marks{CountWord::kBreak | CountWord::kWaiters | CountWord::kMoved};
  EXPECT_EQ(marks.refcount(), 0U);
  EXPECT_TRUE(marks.breaking());
  EXPECT_TRUE(marks.has_waiters());
  EXPECT_EQ(CountWord{3 * CountWord::kTrackedUnit + 5}.refcount(), 8U);
}

}  // namespace
}  // namespace holdfast::pagemap
