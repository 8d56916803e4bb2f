#include "ext4/bitmap.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace holdfast::ext4 {
namespace {

// Calls change(word index, mask) for every 64-bit word that the range touches.
template <typename Change>
void for_words(std::uint32_t first, std::uint32_t count, Change change) {
  const std::uint32_t end = first + count;
  while (first < end) {
    const std::uint32_t low = first % 64;
    const std::uint32_t bits = std::min(64 - low, end - first);
    const std::uint64_t mask = (bits == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1) << low;
    change(first / 64, mask);
    first += bits;
  }
}

std::uint64_t load_word(const std::byte* bits, std::uint32_t index) {
  std::uint64_t value;
  std::memcpy(&value, bits + std::size_t{index} * 8, sizeof(value));
  return value;
}

void store_word(std::byte* bits, std::uint32_t index, std::uint64_t value) {
  std::memcpy(bits + std::size_t{index} * 8, &value, sizeof(value));
}

}  // namespace

std::uint64_t BitView::word(std::uint32_t index) const {
  const std::uint64_t value = load_word(bits_, index);
  return also_ == nullptr ? value : value | load_word(also_, index);
}

bool BitView::taken(std::uint32_t bit) const { return ((word(bit / 64) >> (bit % 64)) & 1u) != 0; }

std::uint32_t BitView::next_free(std::uint32_t first, std::uint32_t end) const {
  while (first < end) {
    const std::uint64_t free = ~word(first / 64) >> (first % 64);
    if (free != 0) return std::min(end, first + static_cast<std::uint32_t>(std::countr_zero(free)));
    first = (first / 64 + 1) * 64;
  }
  return end;
}

std::uint32_t BitView::next_taken(std::uint32_t first, std::uint32_t end) const {
  while (first < end) {
    const std::uint64_t taken_bits = word(first / 64) >> (first % 64);
    if (taken_bits != 0) return std::min(end, first + static_cast<std::uint32_t>(std::countr_zero(taken_bits)));
    first = (first / 64 + 1) * 64;
  }
  return end;
}

std::uint32_t BitView::count_free(std::uint32_t first, std::uint32_t end) const {
  std::uint32_t count = 0;
  for_words(first, end - first, [&](std::uint32_t index, std::uint64_t mask) {
    count += static_cast<std::uint32_t>(std::popcount(~word(index) & mask));
  });
  return count;
}

BitRun BitView::find_run(std::uint32_t first, std::uint32_t end, std::uint32_t wanted) const {
  BitRun longest;
  for (std::uint32_t begin = next_free(first, end); begin < end; begin = next_free(begin, end)) {
    const std::uint32_t stop = next_taken(begin, std::min(end, begin + wanted));
    if (stop - begin > longest.count) longest = {begin, stop - begin};
    if (longest.count == wanted) break;
    begin = stop;
  }
  return longest;
}

void set_bits(std::byte* bits, std::uint32_t first, std::uint32_t count) {
  for_words(first, count,
            [&](std::uint32_t index, std::uint64_t mask) { store_word(bits, index, load_word(bits, index) | mask); });
}

void clear_bits(std::byte* bits, std::uint32_t first, std::uint32_t count) {
  for_words(first, count,
            [&](std::uint32_t index, std::uint64_t mask) { store_word(bits, index, load_word(bits, index) & ~mask); });
}

}  // namespace holdfast::ext4
