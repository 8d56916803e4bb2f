#include "bad/ext4_image.h"

#include <cstring>

namespace holdfast::test {

std::uint32_t Ext4Image::u32(std::uint64_t at) const {
  std::uint32_t value = 0;
  std::memcpy(&value, bytes_.data() + at, sizeof(value));
  return value;
}

std::uint16_t Ext4Image::u16(std::uint64_t at) const {
  std::uint16_t value = 0;
  std::memcpy(&value, bytes_.data() + at, sizeof(value));
  return value;
}

void Ext4Image::set_u32(std::uint64_t at, std::uint32_t value) {
  std::memcpy(bytes_.data() + at, &value, sizeof(value));
}

void Ext4Image::set_u16(std::uint64_t at, std::uint16_t value) {
  std::memcpy(bytes_.data() + at, &value, sizeof(value));
}

void Ext4Image::fill(std::uint64_t at, std::uint64_t length, unsigned char value) {
  std::memset(bytes_.data() + at, value, length);
}

std::uint64_t Ext4Image::inode(std::uint32_t number, std::uint64_t field) const {
  const std::uint64_t per_inode = u16(superblock(0x58));
  return inode_table() + (number - 1) * per_inode + field;
}

std::uint64_t Ext4Image::first_block(std::uint32_t number) const {
  // Behind the header of 12 bytes: an extent (its start is at 8) or an index (its child is at 4).
  const std::uint64_t entry = inode(number, 40 + 12);
  return block_at(extent_depth(number) == 0 ? entry + 8 : entry + 4);
}

}  // namespace holdfast::test
