// Goal: V1 and V2 hold after any changes of a window's pieces.
// Method: random changes beside an array with one element a page.
#include "window/pieces.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace holdfast::window {
namespace {

PageRange pages(std::uint64_t first, std::uint64_t end) { return {PageIndex(first), PageIndex(end)}; }

TEST(Pieces, BeginsAsOnePieceOfNothing) {
  const Pieces pieces(pages(10, 20));
  EXPECT_EQ(pieces.count(), 1U);
  EXPECT_EQ(pieces.find(PageIndex(15)).range, pages(10, 20));
  EXPECT_EQ(pieces.find(PageIndex(15)).piece.shows, Shows::nothing);
}

TEST(Pieces, SharedNeighboursThatFollowEachOtherAreOne) {
  Pieces pieces(pages(0, 100));
  pieces.set(pages(0, 10), {Shows::shared, Pfn(500)});
  pieces.set(pages(10, 20), {Shows::shared, Pfn(510)});
  EXPECT_EQ(pieces.find(PageIndex(12)).range, pages(0, 20));
  pieces.set(pages(20, 30), {Shows::shared, Pfn(900)});
  EXPECT_EQ(pieces.count(), 3U);
  pieces.set(pages(5, 6), {Shows::absent, {}});
  EXPECT_EQ(pieces.find(PageIndex(6)).piece.pfn, Pfn(506));
  EXPECT_EQ(pieces.count(), 5U);
}

TEST(Pieces, RandomChangesAgreeWithAnArray) {
  constexpr std::uint64_t kFirst = 7;
  constexpr std::uint64_t kCount = 200;
  std::mt19937_64 random(20221105);
  for (int program = 0; program < 50; ++program) {
    Pieces pieces(pages(kFirst, kFirst + kCount));
    std::vector<Piece> model(kCount);
    for (int step = 0; step < 60; ++step) {
      const std::uint64_t begin = random() % kCount;
      const std::uint64_t end = begin + 1 + random() % (kCount - begin);
      Piece piece{static_cast<Shows>(random() % 5), {}};
      if (piece.shows == Shows::shared) piece.pfn = Pfn(begin + 1000 * (random() % 3));
      pieces.set(pages(kFirst + begin, kFirst + end), piece);
      for (std::uint64_t at = begin; at < end; ++at) {
        model[at] = piece;
        if (piece.shows == Shows::shared) model[at].pfn += PageCount(at - begin);
      }
      std::size_t seen = 0;
      Pieces::Found before{};
      pieces.each(pieces.all(), [&](const Pieces::Found& found) {
        for (PageIndex at = found.range.first; at < found.range.end; at += PageCount(1)) {
          Piece here = found.piece;
          if (here.shows == Shows::shared) here.pfn += at - found.range.first;
          ASSERT_EQ(here, model[at.raw() - kFirst]);
          ++seen;
        }
        if (before.range.end == found.range.first && before.piece.shows == found.piece.shows) {
          ASSERT_EQ(found.piece.shows, Shows::shared) << "V1: two pieces could be one";
          ASSERT_NE(before.piece.pfn + before.range.count(), found.piece.pfn);
        }
        before = found;
      });
      ASSERT_EQ(seen, kCount);
    }
  }
}

}  // namespace
}  // namespace holdfast::window
