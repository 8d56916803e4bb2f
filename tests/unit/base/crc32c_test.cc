// Goal: the checksum is CRC-32C, whatever way computes it. Method: published check values, and the instruction, the
// table and a bit-by-bit division against each other for every length and alignment that the streams treat differently.
#include "base/crc32c.h"

#include <gtest/gtest.h>

#include <array>
#include <random>
#include <string_view>
#include <vector>

namespace holdfast {
namespace {

using Bytes = std::vector<unsigned char>;

// The definition: division by the polynomial, one bit at a time.
std::uint32_t by_definition(std::uint32_t seed, const unsigned char* data, std::size_t length) {
  std::uint32_t remainder = seed;
  for (std::size_t i = 0; i < length; ++i) {
    remainder ^= data[i];
    for (int bit = 0; bit < 8; ++bit) remainder = (remainder >> 1) ^ ((remainder & 1U) != 0 ? 0x82F63B78U : 0U);
  }
  return remainder;
}

Bytes random_bytes(std::size_t length) {
  std::mt19937 random(20250730);
  Bytes bytes(length);
  for (unsigned char& byte : bytes) byte = static_cast<unsigned char>(random());
  return bytes;
}

TEST(Crc32c, HasThePublishedCheckValues) {
  // RFC 3720, B.4, and the customary nine digits; inverted at both ends there.
  const std::string_view digits = "123456789";
  EXPECT_EQ(~crc32c(~0U, digits.data(), digits.size()), 0xE3069283U);
  const std::array<unsigned char, 32> zeros{};
  EXPECT_EQ(~crc32c(~0U, zeros.data(), zeros.size()), 0x8A9136AAU);
  Bytes rising(32);
  for (std::size_t i = 0; i < rising.size(); ++i) rising[i] = static_cast<unsigned char>(i);
  EXPECT_EQ(~crc32c(~0U, rising.data(), rising.size()), 0x46DD794EU);
}

TEST(Crc32c, EveryWayAgreesAtEveryLengthAndAlignment) {
  const Bytes bytes = random_bytes(9000);
  // Around nothing, a word, the short and long rounds of three streams, and a file system block.
  for (const std::size_t around : {0U, 8U, 128U, 384U, 1024U, 3072U, 4096U, 8192U}) {
    for (std::size_t length = around < 9 ? 0 : around - 9; length <= around + 9; ++length) {
      for (std::size_t start = 0; start < 9; ++start) {
        const std::uint32_t expected = by_definition(0x1234567U, bytes.data() + start, length);
        ASSERT_EQ(crc32c_detail::by_table(0x1234567U, bytes.data() + start, length), expected)
            << length << "+" << start;
        ASSERT_EQ(crc32c(0x1234567U, bytes.data() + start, length), expected) << length << "+" << start;
        if (crc32c_detail::has_instruction()) {
          ASSERT_EQ(crc32c_detail::by_instruction(0x1234567U, bytes.data() + start, length), expected);
        }
      }
    }
  }
}

TEST(Crc32c, ChainsOverParts) {
  const Bytes bytes = random_bytes(5000);
  const std::uint32_t whole = crc32c(~0U, bytes.data(), bytes.size());
  for (std::size_t cut = 0; cut <= bytes.size(); cut += 97) {
    const std::uint32_t first = crc32c(~0U, bytes.data(), cut);
    ASSERT_EQ(crc32c(first, bytes.data() + cut, bytes.size() - cut), whole) << cut;
  }
}

}  // namespace
}  // namespace holdfast
