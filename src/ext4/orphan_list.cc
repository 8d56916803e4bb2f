#include "ext4/orphan_list.h"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <sys/stat.h>

#include "ext4/checksum.h"
#include "ext4/extent_tree.h"

namespace holdfast::ext4 {
namespace {

constexpr std::uint32_t kSlotsPerBlock = (kBlockBytes - sizeof(ext4_orphan_block_tail)) / sizeof(std::uint32_t);
constexpr std::size_t kTail = kBlockBytes - sizeof(ext4_orphan_block_tail);
constexpr std::uint64_t kFileBlocksMax = 64 * 1024;

std::uint32_t slot_value(const BlockRef& block, std::uint32_t slot) {
  return *block.as<std::uint32_t>(std::size_t{slot % kSlotsPerBlock} * sizeof(std::uint32_t));
}

}  // namespace

Status OrphanList::check_number(std::uint32_t inode, const char* where) const {
  if (inode >= super_.s_first_ino && inode <= super_.s_inodes_count && inode != super_.s_orphan_file_inum) return {};
  return damaged(volume_, fmt::format("{} names inode {}", where, inode));
}

Result<const RawInode*> OrphanList::in_use(std::uint32_t inode, const char* where) {
  Result<RawInode*> raw_inode = volume_.inode(InodeNumber{inode});
  if (raw_inode) return *raw_inode;
  if (raw_inode.error().code() != ENOENT) return raw_inode.error();
  return damaged(volume_, fmt::format("{} names inode {}, which is not in use", where, inode));
}

Status OrphanList::load() {
  HF_TRY(load_list());
  if (has_file() && (super_.s_feature_ro_compat & EXT4_FEATURE_RO_COMPAT_ORPHAN_PRESENT) != 0) HF_TRY(load_file());
  return {};
}

Status OrphanList::load_list() {
  std::uint32_t previous = 0;
  for (std::uint32_t inode = super_.s_last_orphan; inode != 0;) {
    HF_TRY(check_number(inode, "the orphan list"));
    if (links_.count(inode) != 0) return damaged(volume_, fmt::format("the orphan list returns to inode {}", inode));
    HF_ASSIGN(const RawInode* raw_inode, in_use(inode, "the orphan list"));
    const std::uint32_t next = raw_inode->body.i_dtime;
    links_[inode] = {previous, next};
    previous = inode;
    inode = next;
  }
  return {};
}

Status OrphanList::map_file() {
  if (mapped_) return {};
  const InodeNumber file{super_.s_orphan_file_inum};
  if (raw(file) == 0 || raw(file) > super_.s_inodes_count) {
    return damaged(volume_, fmt::format("the superblock names inode {} as the orphan file", raw(file)));
  }
  HF_ASSIGN(const RawInode* raw_inode, in_use(raw(file), "the superblock"));
  const std::uint64_t size = raw_inode->body.i_size | std::uint64_t{raw_inode->body.i_size_high} << 32;
  const std::uint64_t count = size / kBlockBytes;
  if (!LINUX_S_ISREG(raw_inode->body.i_mode) || size % kBlockBytes != 0 || count > kFileBlocksMax) {
    return damaged(volume_, fmt::format("inode {}: not an orphan file", raw(file)));
  }
  file_seed_ = volume_.inode_seed(file, raw_inode->body.i_generation);
  std::vector<filesystem::Extent> extents;
  HF_TRY(find_extents(volume_, file, {PageIndex(0), PageIndex(count)}, extents));
  std::vector<BlockNumber> blocks;
  for (const filesystem::Extent& extent : extents) {
    if (extent.index.raw() != blocks.size()) break;
    HF_TRY(volume_.check_run({extent.pfn.raw(), extent.count.raw()}));
    for (std::uint64_t i = 0; i < extent.count.raw(); ++i) blocks.push_back(extent.pfn.raw() + i);
  }
  if (blocks.size() != count) return damaged(volume_, fmt::format("inode {}: the orphan file has holes", raw(file)));
  blocks_ = std::move(blocks);
  verified_.assign(blocks_.size(), false);
  listed_.assign(blocks_.size(), false);
  mapped_ = true;
  return {};
}

Result<BlockRef> OrphanList::file_block(std::size_t index) {
  HF_ASSIGN(BlockRef block, volume_.cache().read(blocks_[index], BlockKind::plain));
  if (!verified_[index]) {
    const auto* tail = block.as<ext4_orphan_block_tail>(kTail);
    const bool good = tail->ob_magic == EXT4_ORPHAN_BLOCK_MAGIC &&
                      (!volume_.has_metadata_checksums() ||
                       tail->ob_checksum == orphan_block_checksum(file_seed_, block.number(), block.data()));
    if (!good) return damaged(volume_, fmt::format("block {} of the orphan file", index));
    verified_[index] = true;
  }
  return block;
}

Status OrphanList::load_file() {
  HF_TRY(map_file());
  for (std::size_t index = 0; index < blocks_.size(); ++index) {
    HF_ASSIGN(const BlockRef block, file_block(index));
    for (std::uint32_t i = 0; i < kSlotsPerBlock; ++i) {
      const auto slot = static_cast<std::uint32_t>(index * kSlotsPerBlock + i);
      const std::uint32_t inode = slot_value(block, slot);
      if (inode == 0) {
        free_slots_.push_back(slot);
        continue;
      }
      HF_TRY(check_number(inode, "the orphan file"));
      HF_TRY(in_use(inode, "the orphan file"));
      if (!slots_.emplace(inode, slot).second) {
        return damaged(volume_, fmt::format("the orphan file names inode {} twice", inode));
      }
    }
  }
  next_slot_ = static_cast<std::uint32_t>(blocks_.size() * kSlotsPerBlock);
  return {};
}

Status OrphanList::check_file_empty() {
  HF_TRY(map_file());
  for (std::size_t index = 0; index < blocks_.size(); ++index) {
    HF_ASSIGN(const BlockRef block, file_block(index));
    for (std::uint32_t slot = 0; slot < kSlotsPerBlock; ++slot) {
      if (const std::uint32_t inode = slot_value(block, slot); inode != 0) {
        return damaged(volume_, fmt::format("the orphan file holds inode {}, which the next mount frees", inode));
      }
    }
    if (!volume_.has_metadata_checksums() && block.as<ext4_orphan_block_tail>(kTail)->ob_checksum != 0) {
      return damaged(volume_, fmt::format("block {} of the orphan file has a checksum", index));
    }
  }
  return {};
}

void OrphanList::set_slot(BlockRef& block, std::uint32_t slot, std::uint32_t inode) {
  const std::size_t index = slot / kSlotsPerBlock;
  std::memcpy(volume_.cache().modify(block) + std::size_t{slot % kSlotsPerBlock} * sizeof(inode), &inode,
              sizeof(inode));
  if (!listed_[index]) {
    listed_[index] = true;
    changed_.push_back(index);
  }
}

// False: the file is full.
Result<bool> OrphanList::add_to_file(std::uint32_t inode) {
  HF_TRY(map_file());
  std::uint32_t slot = 0;
  if (!free_slots_.empty()) {
    slot = free_slots_.back();
  } else if (next_slot_ < blocks_.size() * kSlotsPerBlock) {
    slot = next_slot_;
  } else {
    return false;
  }
  HF_ASSIGN(BlockRef block, file_block(slot / kSlotsPerBlock));
  if (slot_value(block, slot) != 0) return damaged(volume_, "the orphan file is in use but not marked so");
  set_slot(block, slot, inode);
  slots_.emplace(inode, slot);
  if (free_slots_.empty()) {
    ++next_slot_;
  } else {
    free_slots_.pop_back();
  }
  super_.s_feature_ro_compat |= EXT4_FEATURE_RO_COMPAT_ORPHAN_PRESENT;
  return true;
}

Status OrphanList::remove_from_file(std::uint32_t inode) {
  const std::uint32_t slot = slots_.at(inode);
  HF_ASSIGN(BlockRef block, file_block(slot / kSlotsPerBlock));
  set_slot(block, slot, 0);
  slots_.erase(inode);
  free_slots_.push_back(slot);
  if (slots_.empty()) super_.s_feature_ro_compat &= ~std::uint32_t{EXT4_FEATURE_RO_COMPAT_ORPHAN_PRESENT};
  return {};
}

Status OrphanList::add_to_list(std::uint32_t inode) {
  HF_ASSIGN(RawInode* const raw_inode, volume_.inode(InodeNumber{inode}));
  const std::uint32_t first = super_.s_last_orphan;
  raw_inode->body.i_dtime = first;
  volume_.inode_changed(InodeNumber{inode});
  links_[inode] = {0, first};
  if (first != 0) links_[first].previous = inode;
  super_.s_last_orphan = inode;
  return {};
}

Status OrphanList::remove_from_list(std::uint32_t inode) {
  const Link link = links_.at(inode);
  HF_ASSIGN(RawInode* const raw_inode, volume_.inode(InodeNumber{inode}));
  if (link.previous == 0) {
    super_.s_last_orphan = link.next;
  } else {
    HF_ASSIGN(RawInode* const before, volume_.inode(InodeNumber{link.previous}));
    before->body.i_dtime = link.next;
    volume_.inode_changed(InodeNumber{link.previous});
    links_[link.previous].next = link.next;
  }
  if (link.next != 0) links_[link.next].previous = link.previous;
  raw_inode->body.i_dtime = 0;
  volume_.inode_changed(InodeNumber{inode});
  links_.erase(inode);
  return {};
}

Status OrphanList::add(InodeNumber inode) {
  const std::uint32_t number = raw(inode);
  HF_TRY(check_number(number, "the caller"));
  if (links_.count(number) != 0 || slots_.count(number) != 0) return {};
  if (has_file()) {
    HF_ASSIGN(const bool added, add_to_file(number));
    if (added) return {};
  }
  return add_to_list(number);
}

Status OrphanList::remove(InodeNumber inode) {
  if (slots_.count(raw(inode)) != 0) return remove_from_file(raw(inode));
  if (links_.count(raw(inode)) != 0) return remove_from_list(raw(inode));
  return {};
}

std::vector<InodeNumber> OrphanList::all() const {
  std::vector<InodeNumber> inodes;
  inodes.reserve(links_.size() + slots_.size());
  for (std::uint32_t inode = super_.s_last_orphan; inode != 0; inode = links_.at(inode).next) {
    inodes.push_back(InodeNumber{inode});
  }
  for (const auto& [inode, slot] : slots_) inodes.push_back(InodeNumber{inode});
  return inodes;
}

Status OrphanList::seal() {
  for (const std::size_t index : changed_) {
    HF_ASSIGN(BlockRef block, file_block(index));
    if (volume_.has_metadata_checksums()) {
      auto* tail = volume_.cache().modify_as<ext4_orphan_block_tail>(block, kTail);
      tail->ob_checksum = orphan_block_checksum(file_seed_, block.number(), block.data());
    }
    listed_[index] = false;
  }
  changed_.clear();
  return {};
}

}  // namespace holdfast::ext4
