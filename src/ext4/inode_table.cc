#include "ext4/inode_table.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "ext4/checksum.h"

namespace holdfast::ext4 {

InodeTable::InodeTable(BlockCache& cache, const Geometry& geometry, GroupTable& groups, std::string device_name)
    : cache_(cache), geometry_(geometry), groups_(groups), device_name_(std::move(device_name)) {}

Error InodeTable::broken(std::uint32_t inode, const std::string& what) const {
  return Error(EUCLEAN, device_name_, fmt::format("inode {} is damaged: {}", inode, what), "run e2fsck -f");
}

std::uint32_t InodeTable::seed(std::uint32_t inode, std::uint32_t generation) const {
  return crc32c(crc32c(geometry_.seed, &inode, sizeof(inode)), &generation, sizeof(generation));
}

std::uint64_t InodeTable::table_block(std::uint32_t inode) const {
  return groups_.inode_table(geometry_.group_of_inode(inode)) +
         geometry_.index_of_inode(inode) / geometry_.inodes_per_block();
}

std::size_t InodeTable::offset_in_block(std::uint32_t inode) const {
  return std::size_t{geometry_.index_of_inode(inode) % geometry_.inodes_per_block()} * geometry_.inode_bytes;
}

Status InodeTable::unpack(std::uint32_t inode, const std::byte* from, RawInode& raw) const {
  const std::size_t fixed = std::min<std::size_t>(geometry_.inode_bytes, sizeof(raw.body));
  raw.body = ext2_inode_large{};
  std::memcpy(&raw.body, from, fixed);
  raw.tail.assign(from + fixed, from + geometry_.inode_bytes);
  if (geometry_.metadata_checksums &&
      !inode_verifies(seed(inode, raw.body.i_generation), from, geometry_.inode_bytes)) {
    return broken(inode, "its checksum does not match");
  }
  if (geometry_.inode_bytes > EXT2_GOOD_OLD_INODE_SIZE) {
    const std::uint32_t extra = raw.body.i_extra_isize;
    if (extra % 4 != 0 || EXT2_GOOD_OLD_INODE_SIZE + extra > geometry_.inode_bytes) {
      return broken(inode, fmt::format("{} extra bytes", extra));
    }
  }
  return {};
}

void InodeTable::pack(std::uint32_t inode, const RawInode& raw, std::byte* to) const {
  const std::size_t fixed = std::min<std::size_t>(geometry_.inode_bytes, sizeof(raw.body));
  std::memcpy(to, &raw.body, fixed);
  std::copy(raw.tail.begin(), raw.tail.end(), to + fixed);
  if (geometry_.metadata_checksums) seal_inode(seed(inode, raw.body.i_generation), to, geometry_.inode_bytes);
}

Result<RawInode*> InodeTable::get(std::uint32_t inode) {
  if (const auto found = inodes_.find(inode); found != inodes_.end()) {
    found->second->used = true;
    return &found->second->raw;
  }
  if (inode == 0 || inode > geometry_.inodes) {
    return Error(EINVAL, device_name_, fmt::format("there is no inode {}", inode));
  }
  const GroupNumber group = geometry_.group_of_inode(inode);
  if ((groups_.flags(group) & EXT2_BG_INODE_UNINIT) != 0 ||
      geometry_.index_of_inode(inode) >= geometry_.inodes_per_group - groups_.unused_inodes(group)) {
    return Error(ENOENT, device_name_, fmt::format("inode {} is not in use", inode));
  }
  HF_ASSIGN(const BlockRef block, cache_.read(table_block(inode), BlockKind::inode_table));
  auto cached = std::make_unique<Cached>();
  HF_TRY(unpack(inode, block.data() + offset_in_block(inode), cached->raw));
  RawInode* raw_inode = &cached->raw;
  inodes_.emplace(inode, std::move(cached));
  return raw_inode;
}

Result<RawInode*> InodeTable::make(std::uint32_t inode, bool first_use) {
  if (first_use) {
    HF_ASSIGN(BlockRef block, cache_.fresh(table_block(inode), BlockKind::inode_table));
    cache_.modify(block);
  }
  std::unique_ptr<Cached>& cached = inodes_[inode];
  if (cached == nullptr) cached = std::make_unique<Cached>();
  cached->used = true;
  cached->raw.body = ext2_inode_large{};
  const std::size_t fixed = std::min<std::size_t>(geometry_.inode_bytes, sizeof(cached->raw.body));
  cached->raw.tail.assign(geometry_.inode_bytes - fixed, std::byte{0});
  return &cached->raw;
}

void InodeTable::changed(std::uint32_t inode) {
  const auto found = inodes_.find(inode);
  HF_CHECK(found != inodes_.end(), "I1: inode {} changed but is not in memory", inode);
  ++changes_;
  if (found->second->dirty) return;
  found->second->dirty = true;
  dirty_.push_back(inode);
}

Status InodeTable::seal() {
  for (const std::uint32_t inode : dirty_) {
    Cached& cached = *inodes_.at(inode);
    HF_ASSIGN(BlockRef block, cache_.read(table_block(inode), BlockKind::inode_table));
    pack(inode, cached.raw, cache_.modify(block) + offset_in_block(inode));
    cached.dirty = false;
  }
  dirty_.clear();
  return {};
}

// First those not used since the last time (second chance), then any, down to seven eighths of the limit.
void InodeTable::trim(std::size_t inodes_max) {
  const auto clean = [this] { return inodes_.size() - dirty_.size(); };
  if (clean() <= inodes_max) return;
  const std::size_t enough = inodes_max - inodes_max / 8;
  for (const bool spare_used : {true, false}) {
    for (auto it = inodes_.begin(); it != inodes_.end() && clean() > enough;) {
      Cached& cached = *it->second;
      const bool drop = !cached.dirty && !(spare_used && cached.used);
      cached.used = false;
      it = drop ? inodes_.erase(it) : std::next(it);
    }
  }
}

}  // namespace holdfast::ext4
