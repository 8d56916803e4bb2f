// The bytes of an ext4 image with blocks of 4 KiB, and where its structures lie: to damage them one at a time.
#pragma once

#include <cstdint>
#include <string>

namespace holdfast::test {

class Ext4Image {
 public:
  explicit Ext4Image(std::string bytes) : bytes_(std::move(bytes)) {}

  std::string& bytes() { return bytes_; }
  std::uint32_t u32(std::uint64_t at) const;
  std::uint16_t u16(std::uint64_t at) const;
  void set_u32(std::uint64_t at, std::uint32_t value);
  void set_u16(std::uint64_t at, std::uint16_t value);
  void fill(std::uint64_t at, std::uint64_t length, unsigned char value);
  void flip(std::uint64_t at) { bytes_.at(at) = static_cast<char>(~bytes_.at(at)); }

  // Offsets in the image.
  static std::uint64_t superblock(std::uint64_t field) { return 1024 + field; }
  static std::uint64_t descriptor(std::uint64_t field) { return 4096 + field; }  // of group 0
  std::uint64_t block_bitmap() const { return block_at(descriptor(0)); }
  std::uint64_t inode_bitmap() const { return block_at(descriptor(4)); }
  std::uint64_t inode_table() const { return block_at(descriptor(8)); }
  std::uint64_t inode(std::uint32_t number, std::uint64_t field = 0) const;
  // Of an inode whose extents are in its root: the first block of it, or the first node below.
  std::uint64_t first_block(std::uint32_t number) const;
  unsigned extent_depth(std::uint32_t number) const { return u16(inode(number, 40 + 6)); }

 private:
  std::uint64_t block_at(std::uint64_t field) const { return std::uint64_t{u32(field)} * 4096; }

  std::string bytes_;
};

}  // namespace holdfast::test
