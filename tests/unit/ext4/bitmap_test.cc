// Goal: the word-wise reader of bitmaps says what a reader of single bits says. Method: random bitmaps and ranges, with
// and without a second bitmap over the first, against a plain loop.
#include "ext4/bitmap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <vector>

namespace holdfast::ext4 {
namespace {

constexpr std::uint32_t kBits = 1024;

TEST(Bitmap, AgreesWithSingleBits) {
  std::mt19937 random(11);
  for (int round = 0; round < 4000; ++round) {
    std::array<std::byte, kBits / 8> bits{};
    std::array<std::byte, kBits / 8> also{};
    std::vector<bool> model(kBits);
    const bool with_also = random() % 2 != 0;
    for (unsigned changes = static_cast<unsigned>(random() % 60); changes > 0; --changes) {
      const auto first = static_cast<std::uint32_t>(random() % kBits);
      const auto count = static_cast<std::uint32_t>(random() % std::min(kBits - first, random() % 8 == 0 ? 400u : 9u));
      if (random() % 3 != 0) {
        set_bits(with_also && random() % 2 != 0 ? also.data() : bits.data(), first, count);
        std::fill_n(model.begin() + first, count, true);
      } else {
        clear_bits(bits.data(), first, count);
        clear_bits(also.data(), first, count);
        std::fill_n(model.begin() + first, count, false);
      }
    }
    const BitView view(bits.data(), with_also ? also.data() : nullptr);
    auto first = static_cast<std::uint32_t>(random() % (kBits + 1));
    auto end = static_cast<std::uint32_t>(random() % (kBits + 1));
    if (first > end) std::swap(first, end);
    const auto begin_at = model.begin() + first;
    const auto end_at = model.begin() + end;
    const auto position = [&](auto found) { return static_cast<std::uint32_t>(found - model.begin()); };
    ASSERT_EQ(view.next_free(first, end), position(std::find(begin_at, end_at, false)));
    ASSERT_EQ(view.next_taken(first, end), position(std::find(begin_at, end_at, true)));
    ASSERT_EQ(view.count_free(first, end), static_cast<std::uint32_t>(std::count(begin_at, end_at, false)));
    ASSERT_TRUE(first == kBits || view.taken(first) == model[first]);

    const auto wanted = static_cast<std::uint32_t>(1 + random() % 100);
    BitRun expected;
    for (std::uint32_t bit = first; bit < end;) {
      std::uint32_t stop = bit;
      while (stop < end && stop - bit < wanted && !model[stop]) ++stop;
      if (stop - bit > expected.count) expected = {bit, stop - bit};
      if (expected.count == wanted) break;
      bit = std::max(stop, bit + 1);
    }
    const BitRun found = view.find_run(first, end, wanted);
    ASSERT_EQ(found.count, expected.count);
    ASSERT_TRUE(found.count == 0 || found.first == expected.first);
  }
}

}  // namespace
}  // namespace holdfast::ext4
