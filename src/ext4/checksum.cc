#include "ext4/checksum.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/crc32c.h"

extern "C" {
#include <ext2fs/ext2_ext_attr.h>
}

namespace holdfast::ext4 {
namespace {

constexpr std::array<std::uint16_t, 256> kCrc16Table = [] {
  std::array<std::uint16_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t remainder = byte;
    for (int bit = 0; bit < 8; ++bit) remainder = (remainder & 1u) != 0 ? (remainder >> 1) ^ 0xa001u : remainder >> 1;
    table[byte] = static_cast<std::uint16_t>(remainder);
  }
  return table;
}();

template <typename T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

template <typename T>
void store(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof(T));
}

constexpr std::size_t kInodeChecksumLow = offsetof(ext2_inode_large, osd2.linux2.l_i_checksum_lo);
constexpr std::size_t kInodeChecksumHigh = offsetof(ext2_inode_large, i_checksum_hi);
constexpr std::size_t kDirectoryTail = kBlockBytes - sizeof(ext2_dir_entry_tail);

// Where a block keeps its 32-bit checksum, and the value it should have. `at` 0: the block has no place for one.
struct Place {
  std::size_t at = 0;
  std::uint32_t value = 0;
};

Place directory_place(const CachedBlock& block) {
  const auto tail = load<ext2_dir_entry_tail>(block.data.data() + kDirectoryTail);
  if (tail.det_reserved_zero1 != 0 || tail.det_rec_len != sizeof(tail) ||
      tail.det_reserved_name_len != EXT2_DIR_NAME_LEN_CSUM) {
    return {};
  }
  return {kDirectoryTail + offsetof(ext2_dir_entry_tail, det_checksum),
          crc32c(block.owner_seed, block.data.data(), kDirectoryTail)};
}

// Where the limit and count of a hash tree block stand: after `.` and `..` in a root, after one empty record in a node.
std::size_t hash_tree_count_offset(const std::byte* data) {
  const auto record_length = load<std::uint16_t>(data + 4);
  if (record_length == kBlockBytes && load<std::uint16_t>(data + 6) == 0) return 8;
  if (record_length != 12 || load<std::uint16_t>(data + 12 + 4) != kBlockBytes - 12) return 0;
  const auto info = load<ext2_dx_root_info>(data + 24);
  return info.reserved_zero == 0 && info.info_length == sizeof(info) ? 32 : 0;
}

Place hash_tree_place(const CachedBlock& block) {
  const std::byte* data = block.data.data();
  const std::size_t counts = hash_tree_count_offset(data);
  if (counts == 0) return {};
  const auto count_limit = load<ext2_dx_countlimit>(data + counts);
  const std::size_t tail = counts + count_limit.limit * sizeof(ext2_dx_entry);
  if (tail + sizeof(ext2_dx_tail) > kBlockBytes || count_limit.count > count_limit.limit) return {};
  std::uint32_t value = crc32c(block.owner_seed, data, counts + count_limit.count * sizeof(ext2_dx_entry));
  value = crc32c(value, data + tail, offsetof(ext2_dx_tail, dt_checksum));
  const std::uint32_t zero = 0;
  value = crc32c(value, &zero, sizeof(zero));
  return {tail + offsetof(ext2_dx_tail, dt_checksum), value};
}

Place extent_place(const CachedBlock& block) {
  const std::byte* data = block.data.data();
  constexpr std::size_t kHeaderBytes = 12;
  constexpr std::size_t kEntryBytes = 12;
  if (load<std::uint16_t>(data) != 0xf30a) return {};
  const std::size_t tail = kHeaderBytes + load<std::uint16_t>(data + 4) * kEntryBytes;
  if (tail + sizeof(std::uint32_t) > kBlockBytes) return {};
  return {tail, crc32c(block.owner_seed, data, tail)};
}

Place attributes_place(std::uint32_t seed, const CachedBlock& block) {
  constexpr std::size_t kAt = offsetof(ext2_ext_attr_header, h_checksum);
  const std::byte* data = block.data.data();
  if (load<std::uint32_t>(data) != EXT2_EXT_ATTR_MAGIC) return {};
  const std::uint64_t number = block.number;
  const std::uint32_t zero = 0;
  std::uint32_t value = crc32c(seed, &number, sizeof(number));
  value = crc32c(value, data, kAt);
  value = crc32c(value, &zero, sizeof(zero));
  value = crc32c(value, data + kAt + sizeof(zero), kBlockBytes - kAt - sizeof(zero));
  return {kAt, value};
}

bool has_own_checksum(BlockKind kind) {
  return kind == BlockKind::directory || kind == BlockKind::hash_tree_node || kind == BlockKind::extent_node ||
         kind == BlockKind::attributes;
}

Place place_of(std::uint32_t seed, const CachedBlock& block) {
  switch (block.kind) {
    case BlockKind::directory:
      return directory_place(block);
    case BlockKind::hash_tree_node:
      return hash_tree_place(block);
    case BlockKind::extent_node:
      return extent_place(block);
    case BlockKind::attributes:
      return attributes_place(seed, block);
    default:
      return {};
  }
}

}  // namespace

std::uint32_t filesystem_seed(const ext2_super_block& super) {
  if ((super.s_feature_incompat & EXT4_FEATURE_INCOMPAT_CSUM_SEED) != 0) return super.s_checksum_seed;
  return crc32c(~std::uint32_t{0}, super.s_uuid, sizeof(super.s_uuid));
}

std::uint32_t superblock_checksum(const ext2_super_block& super) {
  return crc32c(~std::uint32_t{0}, &super, offsetof(ext2_super_block, s_checksum));
}

std::uint16_t crc16(std::uint16_t seed, const void* data, std::size_t length) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  std::uint32_t remainder = seed;
  for (std::size_t i = 0; i < length; ++i) remainder = (remainder >> 8) ^ kCrc16Table[(remainder ^ bytes[i]) & 0xffu];
  return static_cast<std::uint16_t>(remainder);
}

std::uint16_t descriptor_checksum(const ext2_super_block& super, std::uint32_t seed, std::uint32_t group,
                                  const std::byte* descriptor, std::size_t size) {
  constexpr std::size_t kAt = offsetof(ext2_group_desc, bg_checksum);
  constexpr std::size_t kAfter = kAt + sizeof(std::uint16_t);
  const std::uint16_t zero = 0;
  if ((super.s_feature_ro_compat & EXT4_FEATURE_RO_COMPAT_METADATA_CSUM) != 0) {
    std::uint32_t value = crc32c(seed, &group, sizeof(group));
    value = crc32c(value, descriptor, kAt);
    value = crc32c(value, &zero, sizeof(zero));
    value = crc32c(value, descriptor + kAfter, size - kAfter);
    return static_cast<std::uint16_t>(value);
  }
  if ((super.s_feature_ro_compat & EXT4_FEATURE_RO_COMPAT_GDT_CSUM) == 0) return 0;
  std::uint16_t value = crc16(0xffff, super.s_uuid, sizeof(super.s_uuid));
  value = crc16(value, &group, sizeof(group));
  value = crc16(value, descriptor, kAt);
  return crc16(value, descriptor + kAfter, size - kAfter);
}

bool inode_has_high_checksum(const std::byte* inode, std::size_t size) {
  if (size <= EXT2_GOOD_OLD_INODE_SIZE) return false;
  return load<std::uint16_t>(inode + EXT2_GOOD_OLD_INODE_SIZE) >= EXT4_INODE_CSUM_HI_EXTRA_END;
}

std::uint32_t inode_checksum(std::uint32_t inode_seed, const std::byte* inode, std::size_t size) {
  const std::uint16_t zero = 0;
  std::uint32_t value = crc32c(inode_seed, inode, kInodeChecksumLow);
  value = crc32c(value, &zero, sizeof(zero));
  constexpr std::size_t kAfterLow = kInodeChecksumLow + sizeof(zero);
  if (!inode_has_high_checksum(inode, size)) return crc32c(value, inode + kAfterLow, size - kAfterLow);
  value = crc32c(value, inode + kAfterLow, kInodeChecksumHigh - kAfterLow);
  value = crc32c(value, &zero, sizeof(zero));
  constexpr std::size_t kAfterHigh = kInodeChecksumHigh + sizeof(zero);
  return crc32c(value, inode + kAfterHigh, size - kAfterHigh);
}

void seal_inode(std::uint32_t inode_seed, std::byte* inode, std::size_t size) {
  const std::uint32_t value = inode_checksum(inode_seed, inode, size);
  store(inode + kInodeChecksumLow, static_cast<std::uint16_t>(value));
  if (inode_has_high_checksum(inode, size)) store(inode + kInodeChecksumHigh, static_cast<std::uint16_t>(value >> 16));
}

bool inode_verifies(std::uint32_t inode_seed, const std::byte* inode, std::size_t size) {
  std::uint32_t stored = load<std::uint16_t>(inode + kInodeChecksumLow);
  std::uint32_t computed = inode_checksum(inode_seed, inode, size);
  if (inode_has_high_checksum(inode, size)) {
    stored |= std::uint32_t{load<std::uint16_t>(inode + kInodeChecksumHigh)} << 16;
  } else {
    computed &= 0xffffu;
  }
  return stored == computed ||
         std::all_of(inode, inode + EXT2_GOOD_OLD_INODE_SIZE, [](std::byte byte) { return byte == std::byte{0}; });
}

std::uint32_t orphan_block_checksum(std::uint32_t inode_seed, std::uint64_t block_number, const std::byte* block) {
  const std::uint32_t value = crc32c(inode_seed, &block_number, sizeof(block_number));
  return crc32c(value, block, kBlockBytes - sizeof(ext4_orphan_block_tail));
}

std::string verify_block(std::uint32_t seed, const CachedBlock& block) {
  if (!has_own_checksum(block.kind)) return {};
  const Place place = place_of(seed, block);
  if (place.at == 0) return "is not laid out as it should be";
  if (load<std::uint32_t>(block.data.data() + place.at) != place.value) return "has a checksum that does not match";
  return {};
}

std::string seal_block(std::uint32_t seed, CachedBlock& block) {
  if (!has_own_checksum(block.kind)) return {};
  const Place place = place_of(seed, block);
  if (place.at == 0) return "is not laid out as it should be";
  store(block.data.data() + place.at, place.value);
  return {};
}

}  // namespace holdfast::ext4
