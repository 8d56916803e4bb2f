// The checksums of ext4's metadata, each at the place and with the seed that its kind has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "ext4/block_cache.h"

extern "C" {
#include <ext2fs/ext2_fs.h>
}

namespace holdfast::ext4 {

// Seed of everything in the volume: the stored one, or that of the UUID.
std::uint32_t filesystem_seed(const ext2_super_block& super);

std::uint32_t superblock_checksum(const ext2_super_block& super);

// CRC-16 (ANSI, reflected, no final inversion): what group descriptors have under uninit_bg without metadata_csum.
std::uint16_t crc16(std::uint16_t seed, const void* data, std::size_t length);

// bg_checksum of a descriptor of `size` bytes (32 or more). 0 when the volume has no descriptor checksums.
std::uint16_t descriptor_checksum(const ext2_super_block& super, std::uint32_t seed, std::uint32_t group,
                                  const std::byte* descriptor, std::size_t size);

// Checksum over a whole inode as it lies on the medium, whose checksum fields are taken as zero.
// `inode_seed` is crc32c(crc32c(filesystem seed, number), generation).
std::uint32_t inode_checksum(std::uint32_t inode_seed, const std::byte* inode, std::size_t size);
// Whether i_checksum_hi exists in an inode of that size.
bool inode_has_high_checksum(const std::byte* inode, std::size_t size);
void seal_inode(std::uint32_t inode_seed, std::byte* inode, std::size_t size);
// An inode of zeros passes: inode tables are born so.
bool inode_verifies(std::uint32_t inode_seed, const std::byte* inode, std::size_t size);

// Checksum of a block of the orphan file.
std::uint32_t orphan_block_checksum(std::uint32_t inode_seed, std::uint64_t block_number, const std::byte* block);

// directory, hash_tree_node, extent_node, attributes. Kinds without a checksum of their own pass untouched.
// The answer is the complaint, empty when there is none: "has no checksum tail", "checksum does not match".
std::string verify_block(std::uint32_t filesystem_seed, const CachedBlock& block);
std::string seal_block(std::uint32_t filesystem_seed, CachedBlock& block);

}  // namespace holdfast::ext4
