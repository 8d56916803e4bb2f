// Cached copies of metadata blocks, and the transaction that gathers their changes.
//
// Home blocks are mapped memory that the page cache may write out at any time, so nothing is ever modified in place:
// a change goes to a copy here, and a commit moves the copies home, or into the journal and home later. Checksums are
// set once, when a block leaves the cache, by the block's kind.
//
// Life of a cached block: absent -> clean (read, checksum verified) -> dirty in the running transaction -> clean
// (committed) -> absent (evicted; only clean blocks that nobody refers to). With a journal, a committed block is
// `logged` until a checkpoint has brought it home: it may be changed again meanwhile, and it is not evicted, because
// home is older. A block that is freed is forgotten: it leaves the running transaction and its copy dies, with the last
// BlockRef to it at the latest. One that was logged becomes a revoke record of the running transaction: a replay must
// not bring it back over what its next owner stores there.
//
// Invariants:
//   C1 a block number has at most one copy that read() finds.
//   C2 `dirty_index` of a dirty block is its place in the dirty list; a block is in that list exactly while dirty.
//   C3 a block read as one kind is not used as another: a clean copy is verified again as the new kind, a dirty one is
//      refused. Leaves and nodes of a hash tree are one family, because a linear reader cannot tell them apart.
//   C4 `logged_index` of a logged block is its place in the logged list; a block is in that list exactly while logged.
//   C5 revoked blocks are those that were forgotten while logged and are not dirty again.
//
// Locking: callers hold the format lock (rank `format`); the cache has none of its own.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "device/device.h"

namespace holdfast::ext4 {

class ReplayedBlocks;  // journal_replay.h

inline constexpr std::size_t kBlockBytes = 4096;

// What a block holds, which decides how its checksum is computed and where it lies.
enum class BlockKind : std::uint8_t {
  plain,           // no checksum of its own (superblock copies, symlinks, blocks whose writer sets the checksum)
  group_table,     // group descriptors: each has its own checksum
  block_bitmap,    // checksum lies in the group descriptor
  inode_bitmap,    // checksum lies in the group descriptor
  inode_table,     // each inode has its own checksum
  directory,       // tail entry; seed = owner
  hash_tree_node,  // dx tail; seed = owner
  extent_node,     // tail; seed = owner
  attributes,      // header field; seed = block number
};

struct CachedBlock {
  std::uint64_t number = 0;
  BlockKind kind = BlockKind::plain;
  bool dirty = false;
  bool logged = false;           // its committed contents are in the journal and not home yet
  bool forgotten = false;        // out of the table, kept only for the BlockRefs that are left
  std::uint32_t references = 0;  // BlockRefs
  std::uint32_t owner_seed = 0;  // crc32c seed of the owning inode (directory, hash_tree_node, extent_node)
  std::uint32_t dirty_index = 0;
  std::uint32_t logged_index = 0;
  std::uint64_t last_used = 0;
  CachedBlock* next = nullptr;  // of the same bucket
  alignas(64) std::array<std::byte, kBlockBytes> data;
};

// Keeps a cached block in the cache. Move-only.
class BlockRef {
 public:
  BlockRef() = default;
  explicit BlockRef(CachedBlock* block) : block_(block) { ++block_->references; }
  BlockRef(const BlockRef&) = delete;
  BlockRef& operator=(const BlockRef&) = delete;
  BlockRef(BlockRef&& other) noexcept : block_(other.block_) { other.block_ = nullptr; }
  BlockRef& operator=(BlockRef&& other) noexcept {
    if (this != &other) {
      reset();
      block_ = other.block_;
      other.block_ = nullptr;
    }
    return *this;
  }
  ~BlockRef() { reset(); }
  void reset() {
    if (block_ != nullptr) --block_->references;
    block_ = nullptr;
  }
  explicit operator bool() const { return block_ != nullptr; }
  std::uint64_t number() const { return block_->number; }
  const std::byte* data() const { return block_->data.data(); }
  template <typename T>
  const T* as(std::size_t offset = 0) const {
    return reinterpret_cast<const T*>(block_->data.data() + offset);
  }
  CachedBlock* block() const { return block_; }

 private:
  CachedBlock* block_ = nullptr;
};

class BlockCache {
 public:
  // `verify` is asked once when a block comes in from the device: an Error (EUCLEAN) refuses it. `seal` sets the
  // checksum before a block goes out.
  using Verify = std::function<Status(const CachedBlock& block)>;
  using Seal = std::function<Status(CachedBlock& block)>;

  BlockCache(device::Device& device, Verify verify, Seal seal);
  ~BlockCache();
  // Blocks that are read from there instead of home; they outlive the cache.
  void read_through(const ReplayedBlocks& replayed);
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;

  // The block, from the cache or the device. EIO (bus error), EUCLEAN (checksum, impossible number, in use as something
  // else).
  Result<BlockRef> read(std::uint64_t block, BlockKind kind, std::uint32_t owner_seed = 0);
  // A block whose old contents do not matter: zeroed, not read. Must be made dirty by modify() in the same handle.
  Result<BlockRef> fresh(std::uint64_t block, BlockKind kind, std::uint32_t owner_seed = 0);
  // The bytes for changing; joins the running transaction. Precondition: inside a handle.
  std::byte* modify(BlockRef& block);
  template <typename T>
  T* modify_as(BlockRef& block, std::size_t offset = 0) {
    return reinterpret_cast<T*>(modify(block) + offset);
  }
  // Sets the checksum of a changed block already now, for a reader that verifies by itself.
  Status seal(BlockRef& block);
  // The block was freed: its copy and its place in the transaction are dropped.
  void forget(std::uint64_t block);

  // Without a journal: moves every dirty block home, sealed, and makes it durable. A failure leaves every block dirty
  // and the home blocks in an unknown state.
  Status write_out();

  // With one, in this order: every dirty block, sealed, by number, valid until the next change; what was forgotten
  // while logged; and that both are in the log, durably.
  Result<std::span<CachedBlock* const>> seal_dirty();
  std::vector<std::uint64_t> revoked() const;
  void changes_are_logged();
  // Stores every logged block home and starts making it durable. Precondition: none is dirty.
  Status write_logged_home();
  void logged_are_home();

  // How often modify() was called: whether an operation has changed anything.
  std::uint64_t modifications() const;
  std::size_t dirty_blocks() const;
  std::size_t logged_blocks() const;
  std::size_t revoked_blocks() const;
  std::size_t blocks() const;
  // When there are more clean blocks than the limit, evicts the unreferenced ones used longest ago, an eighth more than
  // asked so that the next calls are free.
  void trim(std::size_t blocks_max);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace holdfast::ext4
