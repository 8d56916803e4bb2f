#include "ext4/inode_alloc.h"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "base/fault_point.h"
#include "ext4/bitmap.h"

namespace holdfast::ext4 {
namespace {

constexpr std::uint32_t kRoot = EXT2_ROOT_INO;

}  // namespace

InodeAllocator::InodeAllocator(BlockCache& cache, const Geometry& geometry, GroupTable& groups, Allocator& blocks,
                               InodeTable& table, std::string device_name)
    : cache_(cache),
      geometry_(geometry),
      groups_(groups),
      blocks_(blocks),
      table_(table),
      device_name_(std::move(device_name)) {}

void InodeAllocator::load() {
  listed_.assign(geometry_.groups, false);
  free_ = 0;
  for (GroupNumber group = 0; group < geometry_.groups; ++group) free_ += groups_.free_inodes(group);
}

Result<BlockRef> InodeAllocator::bitmap(GroupNumber group) {
  const std::uint64_t block = groups_.inode_bitmap(group);
  if ((groups_.flags(group) & EXT2_BG_INODE_UNINIT) == 0) return cache_.read(block, BlockKind::inode_bitmap, group);
  HF_ASSIGN(BlockRef bits, cache_.fresh(block, BlockKind::inode_bitmap, group));
  groups_.make_inode_bitmap(bits.block()->data.data());
  return bits;
}

void InodeAllocator::changed(GroupNumber group) {
  if (listed_[group]) return;
  listed_[group] = true;
  changed_.push_back(group);
}

Result<bool> InodeAllocator::in_use(std::uint32_t inode) {
  HF_ASSIGN(const BlockRef bits, bitmap(geometry_.group_of_inode(inode)));
  return BitView(bits.data()).taken(geometry_.index_of_inode(inode));
}

// The next group, from where the last directory went, that has no fewer free inodes and clusters than the average and
// few directories.
GroupNumber InodeAllocator::spread_directory() {
  const std::uint64_t average_inodes = free_ / geometry_.groups;
  const std::uint64_t average_clusters = blocks_.free_clusters() / geometry_.groups;
  for (std::uint32_t step = 1; step <= geometry_.groups; ++step) {
    const GroupNumber group = (rotor_ + step) % geometry_.groups;
    if (groups_.free_inodes(group) == 0 || groups_.free_inodes(group) < average_inodes) continue;
    if (groups_.free_clusters(group) < average_clusters) continue;
    rotor_ = group;
    return group;
  }
  return rotor_;
}

Result<GroupNumber> InodeAllocator::group_for(std::uint32_t parent, bool directory) {
  if (free_ == 0 || HF_FAULT_POINT("ext4.allocate_inode")) return Error(ENOSPC, device_name_, "no inodes left");
  const GroupNumber from = directory && parent == kRoot ? spread_directory() : geometry_.group_of_inode(parent);
  // A group without space for data is second choice.
  for (const bool with_space : {true, false}) {
    for (std::uint32_t step = 0; step < geometry_.groups; ++step) {
      const GroupNumber group = (from + step) % geometry_.groups;
      if (groups_.free_inodes(group) == 0) continue;
      if (step == 0 || !with_space || groups_.free_clusters(group) != 0) return group;
    }
  }
  return Error(EUCLEAN, device_name_, "the group descriptors have no free inode but their sum has", "run e2fsck -f");
}

Result<InodeAllocator::Made> InodeAllocator::take(GroupNumber group, std::uint32_t index, bool directory) {
  const std::uint32_t number = group * geometry_.inodes_per_group + index + 1;
  const std::uint32_t per_block = geometry_.inodes_per_block();
  const std::uint32_t old_unused = groups_.unused_inodes(group);
  const std::uint32_t used_end = geometry_.inodes_per_group - old_unused;
  const bool uninitialized = (groups_.flags(group) & EXT2_BG_INODE_UNINIT) != 0;
  const bool zeroed = (groups_.flags(group) & EXT2_BG_INODE_ZEROED) != 0;
  // Table blocks past the used part hold anything unless the whole table was zeroed.
  const std::uint32_t first_new_block = (used_end + per_block - 1) / per_block;
  const std::uint32_t block = index / per_block;
  const bool first_use = !zeroed && block >= first_new_block && geometry_.descriptor_checksums;
  // All that may fail comes before the first change.
  if (!first_use) {
    // The block is needed at the commit: better to hear of its damage now.
    HF_ASSIGN(const BlockRef table_block, cache_.read(groups_.inode_table(group) + block, BlockKind::inode_table));
  }
  HF_ASSIGN(BlockRef bits, bitmap(group));
  HF_TRY(blocks_.initialize(group));
  for (std::uint32_t between = first_new_block; first_use && between < block; ++between) {
    HF_ASSIGN(BlockRef skipped, cache_.fresh(groups_.inode_table(group) + between, BlockKind::inode_table));
    cache_.modify(skipped);
  }
  HF_ASSIGN(RawInode * raw_inode, table_.make(number, first_use));
  set_bits(cache_.modify(bits), index, 1);
  changed(group);
  if (uninitialized) groups_.clear_flags(group, EXT2_BG_INODE_UNINIT);
  groups_.set_free_inodes(group, groups_.free_inodes(group) - 1);
  if (directory) groups_.set_used_directories(group, groups_.used_directories(group) + 1);
  if (index >= used_end) groups_.set_unused_inodes(group, geometry_.inodes_per_group - index - 1);
  --free_;
  return Made{number, raw_inode};
}

Result<InodeAllocator::Made> InodeAllocator::allocate(std::uint32_t parent, bool directory) {
  HF_ASSIGN(const GroupNumber group, group_for(parent, directory));
  HF_ASSIGN(const BlockRef bits, bitmap(group));
  const BitView in_use_bits(bits.data());
  if (in_use_bits.count_free(0, geometry_.inodes_per_group) != groups_.free_inodes(group)) {
    return Error(EUCLEAN, device_name_,
                 fmt::format("the inode bitmap of group {} does not have {} free inodes as its descriptor says", group,
                             groups_.free_inodes(group)),
                 "run e2fsck -f");
  }
  const std::uint32_t first = group == 0 ? geometry_.first_inode - 1 : 0;
  const std::uint32_t index = in_use_bits.next_free(first, geometry_.inodes_per_group);
  if (index == geometry_.inodes_per_group) {
    return Error(EUCLEAN, device_name_, "a reserved inode is marked free", "run e2fsck -f");
  }
  return take(group, index, directory);
}

Status InodeAllocator::free(std::uint32_t inode, bool directory) {
  const GroupNumber group = geometry_.group_of_inode(inode);
  const std::uint32_t index = geometry_.index_of_inode(inode);
  HF_ASSIGN(BlockRef bits, bitmap(group));
  if (!BitView(bits.data()).taken(index) || (directory && groups_.used_directories(group) == 0)) {
    return Error(EUCLEAN, device_name_, fmt::format("inode {} is freed but was not in use", inode), "run e2fsck -f");
  }
  clear_bits(cache_.modify(bits), index, 1);
  changed(group);
  groups_.set_free_inodes(group, groups_.free_inodes(group) + 1);
  if (directory) groups_.set_used_directories(group, groups_.used_directories(group) - 1);
  ++free_;
  return {};
}

Status InodeAllocator::seal() {
  for (const GroupNumber group : changed_) {
    HF_ASSIGN(const BlockRef bits, bitmap(group));
    groups_.seal_inode_bitmap(group, bits.data());
    listed_[group] = false;
  }
  changed_.clear();
  return {};
}

}  // namespace holdfast::ext4
