// What the directory functions remember between calls: where the blocks of a directory lie, and the last listing.
//
// A directory's state is made at its first use and dropped when its inode is freed (forget), or when it is the one
// used longest ago and a bound is reached. A state that was dropped is read again from the extent tree.
//
// Invariants:
//   D1 blocks[n] is 0 (not looked up yet) or the device block that holds block n of the directory.
//   D2 `version` is another value after every change of a record of the directory, and never one that any directory
//      had before: a listing whose version agrees is current.
//
// Locking: the format lock, as everything of a Volume.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <unordered_map>
#include <vector>

#include "ext4/volume.h"

namespace holdfast::ext4 {

struct DirectoryState {
  InodeNumber inode = filesystem::kNoInode;
  std::uint32_t seed = 0;  // of the checksums of its blocks
  std::vector<BlockNumber> blocks;
  std::uint64_t version = 0;
};

// Names of a stretch of a directory in the order of their cursors.
struct Listing {
  struct Entry {
    std::uint64_t cursor = 0;
    InodeNumber inode = filesystem::kNoInode;
    std::uint32_t text = 0;  // where in `text` the name begins
    std::uint8_t length = 0;
    std::uint8_t type = 0;  // as in the record
  };
  std::uint64_t version = 0;  // of the directory when it was read; 0: nothing was
  std::uint64_t first = 0;    // every name with a cursor in [first, end) is here
  std::uint64_t end = 0;
  std::vector<Entry> entries;
  std::string text;
};

class DirectoryCache {
 public:
  static constexpr std::size_t kDirectoriesMax = 16 * 1024;
  static constexpr std::size_t kBlocksMax = 2 * 1024 * 1024;  // 16 MiB of block numbers: 8 GiB of directories

  // The state of the directory; null when there is none. Valid, as make()'s, until the next make or forget.
  DirectoryState* find(InodeNumber inode);
  // Precondition: there is none. Drops the oldest states when there are too many.
  DirectoryState& make(InodeNumber inode, std::uint32_t seed);
  // Block numbers known from now on: `count` in all. Precondition: the state was found or made last.
  void resize(DirectoryState& state, std::size_t count);
  // A record of the directory changed.
  void changed(DirectoryState& state) { state.version = ++last_version_; }
  // The inode was freed, or its blocks moved.
  void forget(InodeNumber inode);

  // The listing that was read last, of whichever directory.
  Listing& listing() { return listing_; }

  std::size_t directories() const { return states_.size(); }
  std::size_t blocks() const { return blocks_; }

 private:
  using States = std::list<DirectoryState>;
  void drop(States::iterator state);

  States states_;  // the one used last is the first
  std::unordered_map<std::uint32_t, States::iterator> index_;
  std::size_t blocks_ = 0;  // sum of blocks.size()
  std::uint64_t last_version_ = 0;
  Listing listing_;
};

}  // namespace holdfast::ext4
