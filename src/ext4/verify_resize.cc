// The inode that keeps space behind the descriptors, so that a volume can grow: its map names the reserved blocks of
// group 0, and each of those its copies in the other groups.
#include <span>

#include "ext4/verify_state.h"

namespace holdfast::ext4 {
namespace {

constexpr std::uint32_t kNumbers = kBlockBytes / sizeof(std::uint32_t);

// Of the reserved blocks e2fsck looks at every fourth of their number, from the first on, and so do we.
constexpr std::uint32_t kLookedAt = 4;

bool copies_fit(Verifying& verifying, std::uint64_t block) {
  const Geometry& geometry = verifying.geometry();
  const Result<BlockRef> map = verifying.volume.cache().read(block, BlockKind::plain);
  if (!map) return false;
  std::uint32_t place = 0;
  for (GroupNumber group = 1; group < geometry.groups && place < kNumbers; ++group) {
    if (!group_has_superblock(verifying.super(), group)) continue;
    if (map->as<std::uint32_t>()[place++] != block + geometry.first_block(group)) return false;
  }
  return true;
}

bool is_whole(Verifying& verifying, const ext2_inode_large& body) {
  for (std::uint32_t i = 0; i < EXT2_N_BLOCKS; ++i) {
    if (i != EXT2_DIND_BLOCK && body.i_block[i] != 0) return false;
  }
  const std::uint32_t top = body.i_block[EXT2_DIND_BLOCK];
  if (!verifying.is_block(top) || body.i_links_count == 0 || (body.i_mode & LINUX_S_IFREG) == 0) return false;
  const Result<BlockRef> map = verifying.volume.cache().read(top, BlockKind::plain);
  if (!map) return false;
  const std::uint32_t descriptors = verifying.geometry().descriptor_blocks;
  for (std::uint32_t i = 0; i < verifying.super().s_reserved_gdt_blocks / kLookedAt; ++i) {
    const std::uint64_t block = std::uint64_t{1} + descriptors + i;
    if (map->as<std::uint32_t>()[(descriptors + i) % kNumbers] != block || !copies_fit(verifying, block)) return false;
  }
  return true;
}

}  // namespace

void verify_resize_inode(Verifying& verifying, const ScannedInode& inode) {
  const std::span<const std::uint32_t> numbers(inode.body.i_block);
  if (verifying.compatible(EXT2_FEATURE_COMPAT_RESIZE_INODE)) {
    if (!is_whole(verifying, inode.body)) verifying.problem(inode.number, "it does not hold the reserved descriptors");
    return;
  }
  for (const std::uint32_t number : numbers) {
    if (number != 0) return verifying.problem(inode.number, "it holds blocks, and the feature is off");
  }
}

}  // namespace holdfast::ext4
