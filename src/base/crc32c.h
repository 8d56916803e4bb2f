// CRC-32C (Castagnoli), the checksum of ext4's metadata.
//
// As ext4 chains it: the seed goes in and the remainder comes out without inversion, so that
// crc32c(crc32c(seed, a), b) is the checksum of a followed by b. A file's first seed is ~0.
#pragma once

#include <cstddef>
#include <cstdint>

namespace holdfast {

std::uint32_t crc32c(std::uint32_t seed, const void* data, std::size_t length);

namespace crc32c_detail {
// The two ways to the same number; crc32c takes the instruction where the processor has it.
bool has_instruction();
std::uint32_t by_instruction(std::uint32_t seed, const void* data, std::size_t length);
std::uint32_t by_table(std::uint32_t seed, const void* data, std::size_t length);
}  // namespace crc32c_detail

}  // namespace holdfast
