// Bits of an allocation bitmap, read a word at a time. Bit n is bit n % 8 of byte n / 8, as ext4 lays them.
//
// A bitmap may be seen through a second one (`also`): a bit is then taken when either has it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace holdfast::ext4 {

struct BitRun {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
};

class BitView {
 public:
  explicit BitView(const std::byte* bits, const std::byte* also = nullptr) : bits_(bits), also_(also) {}

  bool taken(std::uint32_t bit) const;
  // First bit in [first, end) that is free; `end` when there is none.
  std::uint32_t next_free(std::uint32_t first, std::uint32_t end) const;
  // First bit in [first, end) that is taken; `end` when there is none.
  std::uint32_t next_taken(std::uint32_t first, std::uint32_t end) const;
  std::uint32_t count_free(std::uint32_t first, std::uint32_t end) const;
  // The first run of at least `wanted` free bits that begins in [first, end), cut to `wanted`; else the longest run.
  // count 0: nothing is free.
  BitRun find_run(std::uint32_t first, std::uint32_t end, std::uint32_t wanted) const;

 private:
  std::uint64_t word(std::uint32_t index) const;

  const std::byte* bits_;
  const std::byte* also_;
};

void set_bits(std::byte* bits, std::uint32_t first, std::uint32_t count);
void clear_bits(std::byte* bits, std::uint32_t first, std::uint32_t count);

}  // namespace holdfast::ext4
