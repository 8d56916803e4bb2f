#include "ext4/directory_file.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <string>
#include <type_traits>

#include "base/check.h"
#include "base/fault_point.h"
#include "ext4/extent_tree.h"

namespace holdfast::ext4 {
namespace {

constexpr std::uint32_t kWindow = 512;  // block numbers looked up at a time
// Index entries name a block in 28 bits; without large_dir a size has 32.
constexpr std::uint64_t kBlocksMaxLarge = std::uint64_t{1} << 28;
constexpr std::uint64_t kBlocksMaxSmall = (std::uint64_t{1} << 32) / kBlockBytes - 1;

std::string describe(InodeNumber inode) { return fmt::format("directory inode {}", raw(inode)); }

}  // namespace

DirectoryFile::DirectoryFile(Volume& volume, InodeNumber number, RawInode& raw_inode)
    : volume_(&volume), raw_(&raw_inode), state_(volume.directories().find(number)) {
  const ext2_super_block& super = volume.superblock();
  const bool checksums = volume.has_metadata_checksums();
  if (state_ == nullptr) {
    state_ = &volume.directories().make(number, volume.inode_seed(number, raw_inode.body.i_generation));
  }
  shape_ = BlockShape::make(super.s_inodes_count, checksums,
                            (super.s_feature_incompat & EXT2_FEATURE_INCOMPAT_FILETYPE) != 0);
  const bool large = (super.s_feature_incompat & EXT4_FEATURE_INCOMPAT_LARGEDIR) != 0;
  index_levels_max_ = large ? EXT4_HTREE_LEVEL : EXT4_HTREE_LEVEL_COMPAT;
  may_index_ = (super.s_feature_compat & EXT2_FEATURE_COMPAT_DIR_INDEX) != 0;
  indexed_ = (raw_inode.body.i_flags & EXT2_INDEX_FL) != 0;
}

Result<DirectoryFile> DirectoryFile::open_new(Volume& volume, InodeNumber inode) {
  HF_ASSIGN(RawInode * raw_inode, volume.inode(inode));
  if (!S_ISDIR(raw_inode->body.i_mode)) return Error(ENOTDIR, describe(inode), "");
  volume.directories().forget(inode);
  return DirectoryFile(volume, inode, *raw_inode);
}

Result<DirectoryFile> DirectoryFile::open(Volume& volume, InodeNumber inode) {
  HF_ASSIGN(RawInode * raw_inode, volume.inode(inode));
  const ext2_inode_large& body = raw_inode->body;
  if (!S_ISDIR(body.i_mode)) return Error(ENOTDIR, describe(inode), "");
  if ((body.i_flags & (EXT4_INLINE_DATA_FL | EXT4_ENCRYPT_FL | EXT4_CASEFOLD_FL)) != 0) {
    return Error(EOPNOTSUPP, describe(inode), "directories that are stored inline, encrypted or case-folded");
  }
  DirectoryFile directory(volume, inode, *raw_inode);
  const bool large = directory.index_levels_max_ == EXT4_HTREE_LEVEL;
  const std::uint64_t size = body.i_size | (large ? std::uint64_t{body.i_size_high} << 32 : 0);
  if (size == 0 || size % kBlockBytes != 0 || size / kBlockBytes > (large ? kBlocksMaxLarge : kBlocksMaxSmall)) {
    return ext4::damaged(volume, fmt::format("{}: impossible size {}", describe(inode), size));
  }
  if (directory.indexed_ && !directory.may_index_) {
    return ext4::damaged(volume, fmt::format("{}: indexed, in a file system without indexes", describe(inode)));
  }
  directory.blocks_ = static_cast<std::uint32_t>(size / kBlockBytes);
  return directory;
}

HashFunction hash_function_of(const ext2_super_block& super, HashVersion version) {
  HashFunction function;
  function.version = version;
  // When neither flag is set, the file system was never used on a machine whose choice it would remember.
  const bool flagged = (super.s_flags & (EXT2_FLAGS_SIGNED_HASH | EXT2_FLAGS_UNSIGNED_HASH)) != 0;
  function.signed_bytes = flagged ? (super.s_flags & EXT2_FLAGS_UNSIGNED_HASH) == 0 : std::is_signed_v<char>;
  std::copy_n(super.s_hash_seed, 4, function.seed.begin());
  return function;
}

HashFunction DirectoryFile::hash_function(HashVersion version) const {
  return hash_function_of(volume_->superblock(), version);
}

HashVersion DirectoryFile::default_hash_version() const {
  const std::uint8_t version = volume_->superblock().s_def_hash_version;
  return version <= EXT2_HASH_TEA ? static_cast<HashVersion>(version) : HashVersion::half_md4;
}

Result<BlockRef> DirectoryFile::read(std::uint32_t block, BlockKind kind) {
  HF_ASSIGN(const BlockNumber where, locate(block));
  Result<BlockRef> ref = cache().read(where, kind, state_->seed);
  if (!ref && ref.error().code() == EUCLEAN) return damaged(block, ref.error().reason());
  return ref;
}

Result<BlockRef> DirectoryFile::fresh(std::uint32_t block, BlockKind kind) {
  if (HF_FAULT_POINT("ext4.directory.grown")) return Error(EIO, describe(inode()), "made to fail");
  HF_ASSIGN(const BlockNumber where, locate(block));
  return cache().fresh(where, kind, state_->seed);
}

Result<BlockNumber> DirectoryFile::locate(std::uint32_t block) {
  const auto known = [&] { return block < state_->blocks.size() ? state_->blocks[block] : 0; };
  if (const BlockNumber where = known(); where != 0) return where;
  if (block >= blocks_) return damaged(block, fmt::format("past the end, which is block {}", blocks_));
  const std::uint32_t first = block / kWindow * kWindow;
  if (first < DirectoryCache::kBlocksMax) {
    HF_TRY(load_extents(first, std::min(first + kWindow, blocks_)));
    if (const BlockNumber where = known(); where != 0) return where;
  } else {
    // So far into a directory that remembering would cost more memory than it is worth.
    std::vector<filesystem::Extent> found;
    HF_TRY(find_extents(*volume_, inode(), {PageIndex(block), PageIndex(block + 1)}, found));
    if (!found.empty() && !found.front().unwritten) return found.front().pfn.raw();
  }
  return damaged(block, "a hole");
}

Status DirectoryFile::load_extents(std::uint32_t first, std::uint32_t end) {
  std::vector<filesystem::Extent> found;
  HF_TRY(find_extents(*volume_, inode(), {PageIndex(first), PageIndex(end)}, found));
  for (const filesystem::Extent& extent : found) {
    if (extent.unwritten) continue;
    for (std::uint64_t i = 0; i < extent.count.raw(); ++i) {
      remember(static_cast<std::uint32_t>(extent.index.raw() + i), extent.pfn.raw() + i);
    }
  }
  return {};
}

void DirectoryFile::remember(std::uint32_t block, BlockNumber where) {
  if (block >= DirectoryCache::kBlocksMax) return;
  if (block >= state_->blocks.size()) volume_->directories().resize(*state_, block + 1);
  state_->blocks[block] = where;
}

Status DirectoryFile::reserve(std::uint32_t count) {
  if (count <= reserved_) return {};
  const std::uint32_t missing = count - reserved_;
  const bool large = index_levels_max_ == EXT4_HTREE_LEVEL;
  const std::uint64_t blocks_after = std::uint64_t{blocks_} + missing;
  if (blocks_after > (large ? kBlocksMaxLarge : kBlocksMaxSmall) || HF_FAULT_POINT("ext4.directory.reserve")) {
    return Error(ENOSPC, describe(inode()), fmt::format("cannot grow beyond {} blocks", blocks_));
  }
  std::vector<filesystem::Extent> added;
  HF_TRY(allocate_extents(*volume_, inode(), {PageIndex(blocks_), PageIndex(blocks_after)},
                          filesystem::Initial::written, added));
  for (const filesystem::Extent& extent : added) {
    for (std::uint64_t i = 0; i < extent.count.raw(); ++i) {
      remember(static_cast<std::uint32_t>(extent.index.raw() + i), extent.pfn.raw() + i);
    }
  }
  blocks_ = static_cast<std::uint32_t>(blocks_after);
  reserved_ += missing;
  const std::uint64_t size = blocks_after * kBlockBytes;
  raw_->body.i_size = static_cast<std::uint32_t>(size);
  if (large) raw_->body.i_size_high = static_cast<std::uint32_t>(size >> 32);
  volume_->inode_changed(inode());
  return {};
}

std::uint32_t DirectoryFile::take_reserved() {
  HF_CHECK(reserved_ != 0, "directory inode {}: no block is reserved", raw(inode()));
  return blocks_ - reserved_--;
}

void DirectoryFile::set_indexed() {
  indexed_ = true;
  raw_->body.i_flags |= EXT2_INDEX_FL;
  volume_->inode_changed(inode());
}

Error DirectoryFile::damaged(std::uint32_t block, std::string_view what) const {
  return ext4::damaged(*volume_, fmt::format("{}, block {}: {}", describe(inode()), block, what));
}

Error DirectoryFile::damaged_at(std::uint32_t block, std::uint32_t offset, std::string_view what) const {
  return ext4::damaged(*volume_, fmt::format("{}, block {}, offset {}: {}", describe(inode()), block, offset, what));
}

}  // namespace holdfast::ext4
