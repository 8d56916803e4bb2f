// A directory as a file of blocks: found by their number in the directory, appended at its end.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "ext4/dir_block.h"
#include "ext4/dir_hash.h"
#include "ext4/directory_cache.h"
#include "ext4/volume.h"

namespace holdfast::ext4 {

// How names are hashed in a directory with this version in its root (0, 1, 2 as on the medium).
HashFunction hash_function_of(const ext2_super_block& super, HashVersion version);

// For the time of one call: refers to the inode and to the state in the cache.
class DirectoryFile {
 public:
  // ENOTDIR. EOPNOTSUPP: stored in the inode, encrypted or case-folded. EUCLEAN. ENOENT: no such inode.
  static Result<DirectoryFile> open(Volume& volume, InodeNumber inode);
  // A directory that has no block yet: its first one is appended next.
  static Result<DirectoryFile> open_new(Volume& volume, InodeNumber inode);

  std::uint32_t blocks() const { return blocks_; }
  bool indexed() const { return indexed_; }
  // The file system wants directories of more than one block to be indexed.
  bool may_index() const { return may_index_; }
  // Listed in the order of hashes, so that records may move; else in the order in which they lie.
  bool hash_ordered() const { return may_index_ && (indexed_ || blocks_ == 1); }
  // Levels of index nodes, the root included, that the kernel goes down to.
  std::uint32_t index_levels_max() const { return index_levels_max_; }
  const BlockShape& shape() const { return shape_; }
  bool has_checksums() const { return shape_.has_tail; }
  InodeNumber inode() const { return state_->inode; }
  Volume& volume() { return *volume_; }
  BlockCache& cache() { return volume_->cache(); }
  DirectoryState& state() { return *state_; }

  HashFunction hash_function(HashVersion version) const;
  HashVersion default_hash_version() const;

  // EUCLEAN: outside the directory, a hole, damaged.
  Result<BlockRef> read(std::uint32_t block, BlockKind kind);
  // Makes sure that `count` calls of append() succeed: grows the directory by what is missing. ENOSPC changes nothing.
  Status reserve(std::uint32_t count);
  // The number of a block reserved before.
  std::uint32_t take_reserved();
  // A reserved block, or one that is written anew: zeroed, and to be changed by the caller.
  Result<BlockRef> fresh(std::uint32_t block, BlockKind kind);
  void set_indexed();

  // A record of the directory was changed: listings kept of it are void.
  void changed() { volume_->directories().changed(*state_); }

  Error damaged(std::uint32_t block, std::string_view what) const;
  Error damaged_at(std::uint32_t block, std::uint32_t offset, std::string_view what) const;

 private:
  DirectoryFile(Volume& volume, InodeNumber number, RawInode& raw);
  // Where the block lies.
  Result<BlockNumber> locate(std::uint32_t block);
  Status load_extents(std::uint32_t first, std::uint32_t end);
  void remember(std::uint32_t block, BlockNumber where);

  Volume* volume_;
  RawInode* raw_;
  DirectoryState* state_;
  BlockShape shape_;
  std::uint32_t blocks_ = 0;
  std::uint32_t reserved_ = 0;  // of these, at the end, handed out by take_reserved() and not taken yet
  std::uint32_t index_levels_max_ = 2;
  bool indexed_ = false;
  bool may_index_ = false;
};

}  // namespace holdfast::ext4
