#include "base/crc32c.h"

#include <array>
#include <bit>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

static_assert(std::endian::native == std::endian::little, "words are loaded as the bytes lie");

namespace holdfast {
namespace crc32c_detail {
namespace {

using Byte = unsigned char;

constexpr std::uint32_t kPolynomial = 0x82F63B78;  // reflected: bit 31 is the coefficient of x^0

// tables[k][b]: what the byte b contributes when k more bytes follow it in the same word.
constexpr std::array<std::array<std::uint32_t, 256>, 8> make_byte_tables() {
  std::array<std::array<std::uint32_t, 256>, 8> tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t remainder = byte;
    for (int bit = 0; bit < 8; ++bit) remainder = (remainder >> 1) ^ ((remainder & 1U) != 0 ? kPolynomial : 0U);
    tables[0][byte] = remainder;
  }
  for (std::size_t k = 1; k < tables.size(); ++k) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t shorter = tables[k - 1][byte];
      tables[k][byte] = (shorter >> 8) ^ tables[0][shorter & 0xFFU];
    }
  }
  return tables;
}

constexpr auto kByteTables = make_byte_tables();

std::uint64_t load_word(const Byte* at) {
  std::uint64_t word = 0;
  std::memcpy(&word, at, sizeof word);
  return word;
}

}  // namespace

std::uint32_t by_table(std::uint32_t seed, const void* data, std::size_t length) {
  const Byte* at = static_cast<const Byte*>(data);
  std::uint32_t remainder = seed;
  for (; length >= 8; length -= 8, at += 8) {
    const std::uint64_t word = load_word(at) ^ remainder;
    remainder = 0;
    for (unsigned k = 0; k < 8; ++k) remainder ^= kByteTables[7 - k][(word >> (8 * k)) & 0xFFU];
  }
  for (; length > 0; --length, ++at) remainder = (remainder >> 8) ^ kByteTables[0][(remainder ^ *at) & 0xFFU];
  return remainder;
}

#if defined(__x86_64__)

namespace {

// The instruction has a latency of three cycles and a throughput of one: three independent streams over neighbouring
// blocks keep it busy. The remainder of a block is then carried over the blocks after it by a table: appending zeros is
// linear in the remainder.
class ZeroAppender {
 public:
  constexpr explicit ZeroAppender(std::size_t bytes) {
    std::array<std::uint32_t, 32> image{};  // of each single bit
    for (std::size_t bit = 0; bit < 32; ++bit) image[bit] = append(std::uint32_t{1} << bit, bytes);
    for (std::size_t k = 0; k < 4; ++k) {
      for (std::size_t value = 1; value < 256; ++value) {
        const auto lowest = static_cast<std::size_t>(std::countr_zero(value));
        tables_[k][value] = tables_[k][value & (value - 1)] ^ image[8 * k + lowest];
      }
    }
  }

  std::uint32_t operator()(std::uint32_t remainder) const {
    return tables_[0][remainder & 0xFFU] ^ tables_[1][(remainder >> 8) & 0xFFU] ^
           tables_[2][(remainder >> 16) & 0xFFU] ^ tables_[3][remainder >> 24];
  }

 private:
  static constexpr std::uint32_t append(std::uint32_t remainder, std::size_t zeros) {
    for (std::size_t i = 0; i < zeros; ++i) remainder = (remainder >> 8) ^ kByteTables[0][remainder & 0xFFU];
    return remainder;
  }

  std::array<std::array<std::uint32_t, 256>, 4> tables_{};
};

// Long blocks for whole metadata blocks (4096 bytes are one round and a third), short ones for what is left.
constexpr std::size_t kLong = 1024;
constexpr std::size_t kShort = 128;
constexpr ZeroAppender kOverLong{kLong};
constexpr ZeroAppender kOverShort{kShort};

template <std::size_t kBlock>
__attribute__((target("sse4.2"))) std::uint32_t three_streams(std::uint32_t seed, const Byte*& at, std::size_t& length,
                                                              const ZeroAppender& over_block) {
  std::uint32_t remainder = seed;
  for (; length >= 3 * kBlock; length -= 3 * kBlock, at += 3 * kBlock) {
    std::uint64_t first = remainder;
    std::uint64_t second = 0;
    std::uint64_t third = 0;
    for (std::size_t i = 0; i < kBlock; i += 8) {
      first = _mm_crc32_u64(first, load_word(at + i));
      second = _mm_crc32_u64(second, load_word(at + kBlock + i));
      third = _mm_crc32_u64(third, load_word(at + 2 * kBlock + i));
    }
    remainder = over_block(static_cast<std::uint32_t>(first)) ^ static_cast<std::uint32_t>(second);
    remainder = over_block(remainder) ^ static_cast<std::uint32_t>(third);
  }
  return remainder;
}

}  // namespace

bool has_instruction() {
  static const bool present = __builtin_cpu_supports("sse4.2") != 0;
  return present;
}

__attribute__((target("sse4.2"))) std::uint32_t by_instruction(std::uint32_t seed, const void* data,
                                                               std::size_t length) {
  const Byte* at = static_cast<const Byte*>(data);
  std::uint32_t remainder = three_streams<kLong>(seed, at, length, kOverLong);
  remainder = three_streams<kShort>(remainder, at, length, kOverShort);
  for (; length >= 8; length -= 8, at += 8) {
    remainder = static_cast<std::uint32_t>(_mm_crc32_u64(remainder, load_word(at)));
  }
  for (; length > 0; --length, ++at) remainder = _mm_crc32_u8(remainder, *at);
  return remainder;
}

#else

bool has_instruction() { return false; }
std::uint32_t by_instruction(std::uint32_t seed, const void* data, std::size_t length) {
  return by_table(seed, data, length);
}

#endif

}  // namespace crc32c_detail

std::uint32_t crc32c(std::uint32_t seed, const void* data, std::size_t length) {
  return crc32c_detail::has_instruction() ? crc32c_detail::by_instruction(seed, data, length)
                                          : crc32c_detail::by_table(seed, data, length);
}

}  // namespace holdfast
