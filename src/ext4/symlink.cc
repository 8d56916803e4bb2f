#include "ext4/symlink.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include <fmt/format.h>

#include "ext4/extent_tree.h"

namespace holdfast::ext4 {

using filesystem::Extent;

namespace {

constexpr std::size_t kInodeBytes = sizeof(ext2_inode_large::i_block);
constexpr std::size_t kTargetBytesMax = kBlockBytes - 1;
constexpr PageRange kOnlyPage{PageIndex(0), PageIndex(1)};

Error invalid(InodeNumber inode, std::string reason) {
  return Error(EINVAL, fmt::format("inode {}", filesystem::raw(inode)), std::move(reason));
}

Error bad_link(const Volume& volume, InodeNumber inode, const char* what) {
  return damaged(volume, fmt::format("inode {}: symbolic link {}", filesystem::raw(inode), what));
}

bool is_symlink(const RawInode& raw) { return (raw.body.i_mode & S_IFMT) == S_IFLNK; }

// Gives the link a block with the target, or leaves it as it was.
Status write_block(Volume& volume, InodeNumber inode, RawInode& raw, std::string_view target) {
  const ext2_inode_large before = raw.body;
  if ((raw.body.i_flags & EXT4_EXTENTS_FL) == 0) make_extent_root(raw);
  std::vector<Extent> added;
  if (auto allocated = allocate_extents(volume, inode, kOnlyPage, filesystem::Initial::written, added); !allocated) {
    raw.body = before;
    return std::move(allocated).error();
  }
  if (added.empty()) return invalid(inode, "has a target already");
  Result<BlockRef> ref = volume.cache().fresh(added.front().pfn.raw(), BlockKind::plain);
  if (!ref) {
    HF_TRY(remove_extents(volume, inode, {PageIndex(0), kEndOfFile}, 1));
    return std::move(ref).error();
  }
  std::memcpy(volume.cache().modify(*ref), target.data(), target.size());
  return {};
}

}  // namespace

Result<std::string> read_symlink(Volume& volume, InodeNumber inode) {
  HF_ASSIGN(RawInode* const raw, volume.inode(inode));
  if (!is_symlink(*raw)) return invalid(inode, "not a symbolic link");
  const std::size_t size = raw->body.i_size;
  if (size == 0 || raw->body.i_size_high != 0 || size > kTargetBytesMax) {
    return bad_link(volume, inode, "has an impossible size");
  }
  std::string target;
  if (size < kInodeBytes && (raw->body.i_flags & EXT4_EXTENTS_FL) == 0) {
    target.assign(reinterpret_cast<const char*>(raw->body.i_block), size);
  } else {
    std::vector<Extent> extents;
    HF_TRY(find_extents(volume, inode, kOnlyPage, extents));
    if (extents.empty() || extents.front().unwritten) return bad_link(volume, inode, "has no block");
    HF_ASSIGN(const BlockRef ref, volume.cache().read(extents.front().pfn.raw(), BlockKind::plain));
    target.assign(reinterpret_cast<const char*>(ref.data()), size);
  }
  if (target.find('\0') != std::string::npos) return bad_link(volume, inode, "is shorter than its size");
  return target;
}

Status write_symlink(Volume& volume, InodeNumber inode, std::string_view target) {
  HF_ASSIGN(RawInode* const raw, volume.inode(inode));
  if (!is_symlink(*raw)) return invalid(inode, "not a symbolic link");
  if (target.empty() || target.find('\0') != std::string_view::npos) return invalid(inode, "not a target of a link");
  if (target.size() > kTargetBytesMax) {
    return Error(ENAMETOOLONG, fmt::format("inode {}", filesystem::raw(inode)), "a target has at most 4095 bytes");
  }
  if (target.size() < kInodeBytes) {
    if ((raw->body.i_flags & EXT4_EXTENTS_FL) != 0) {
      std::vector<Extent> extents;
      HF_TRY(find_extents(volume, inode, {PageIndex(0), kEndOfFile}, extents));
      if (!extents.empty()) return invalid(inode, "has a target already");
    }
    raw->body.i_flags &= ~std::uint32_t{EXT4_EXTENTS_FL};
    std::memset(raw->body.i_block, 0, kInodeBytes);
    std::memcpy(raw->body.i_block, target.data(), target.size());
  } else {
    HF_TRY(write_block(volume, inode, *raw, target));
  }
  raw->body.i_size = static_cast<std::uint32_t>(target.size());
  raw->body.i_size_high = 0;
  volume.inode_changed(inode);
  return {};
}

}  // namespace holdfast::ext4
