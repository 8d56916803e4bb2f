// Inodes made, written, freed and listed as orphans.
#include <cerrno>

#include <fmt/format.h>

#include "base/clock.h"
#include "ext4/inode_attributes.h"
#include "ext4/volume_core.h"

namespace holdfast::ext4 {

Status VolumeCore::write_inode(InodeNumber inode, const Attributes& attributes) {
  if (Status possible = check_attributes(super_, attributes); !possible) {
    return std::move(possible).error().about(fmt::format("inode {}", raw(inode)));
  }
  HF_ASSIGN(RawInode* const raw_inode, this->inode(inode));
  if ((raw_inode->body.i_mode & LINUX_S_IFMT) != mode_bits(attributes.type)) {
    return damaged(*this, fmt::format("inode {}: became a file of another type", raw(inode)));
  }
  set_attributes(super_, *raw_inode, attributes);
  inode_changed(inode);
  constexpr std::uint64_t kSmallFileMax = 0x7fffffff;
  const bool knows_large = (super_.s_feature_ro_compat & EXT2_FEATURE_RO_COMPAT_LARGE_FILE) != 0;
  if (!knows_large && attributes.type == FileType::regular && attributes.size > kSmallFileMax) {
    change_superblock().s_feature_ro_compat |= EXT2_FEATURE_RO_COMPAT_LARGE_FILE;
  }
  return {};
}

Result<InodeNumber> VolumeCore::create_inode(InodeNumber parent, const Attributes& attributes,
                                             std::uint32_t generation) {
  HF_TRY(check_attributes(super_, attributes));
  if (raw(parent) == 0 || raw(parent) > geometry_.inodes) {
    return Error(EINVAL, name(), fmt::format("there is no inode {}", raw(parent)));
  }
  HF_ASSIGN(const InodeAllocator::Made made,
            inode_allocator_.allocate(raw(parent), attributes.type == FileType::directory));
  make_inode(super_, *made.raw, attributes, generation);
  const InodeNumber inode{made.number};
  inode_changed(inode);
  return inode;
}

Status VolumeCore::free_inode(InodeNumber inode) {
  HF_ASSIGN(RawInode* const raw_inode, this->inode(inode));
  HF_TRY(inode_allocator_.free(raw(inode), LINUX_S_ISDIR(raw_inode->body.i_mode)));
  directories_.forget(inode);
  raw_inode->body.i_links_count = 0;
  raw_inode->body.i_size = 0;
  raw_inode->body.i_size_high = 0;
  raw_inode->body.i_dtime = static_cast<std::uint32_t>(file_time_now().seconds);
  inode_changed(inode);
  return {};
}

Status VolumeCore::add_orphan(InodeNumber inode) {
  HF_TRY(orphans_.add(inode));
  change_superblock();
  return {};
}

Status VolumeCore::remove_orphan(InodeNumber inode) {
  HF_TRY(orphans_.remove(inode));
  change_superblock();
  return {};
}

}  // namespace holdfast::ext4
