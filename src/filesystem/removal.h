// Taking bytes out of a file, once nobody is in the way: the second stage of truncate and punch.
//
// Whole pages leave with their blocks; of pages (clusters) that stay, the bytes are zeroed. With `detach` what is held
// still goes to quarantine, and a held page that must stay in part is copied to a new block first, so that its holder
// keeps what it had and the file shows what it must.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include <holdfast/types.h>

#include "filesystem/format.h"
#include "filesystem/inode.h"
#include "layout/break.h"

namespace holdfast::filesystem {

// The bytes that leave: [begin, end). kToTheEnd: all that follow, blocks past the end of the file included.
struct Cut {
  static constexpr std::uint64_t kToTheEnd = ~std::uint64_t{0};
  std::uint64_t begin = 0;
  std::uint64_t end = 0;

  bool to_the_end() const { return end == kToTheEnd; }
};

// What must be broken before: every page of which a byte leaves.
PageRange range_to_break(const Inode& inode, Cut cut, OnPinned on_pinned);

// Takes the cut out. `new_size`, where given, is the size afterwards, and cut.begin. ENOSPC (only with busy pages):
// nothing has changed. Other errors are the medium's: the format has stopped then.
Status take_out(Inode& inode, layout::Commit& commit, Cut cut, OnPinned on_pinned,
                std::optional<std::uint64_t> new_size) HF_REQUIRES(inode.lock);

// Extents freed in one handle: about 1 ms of work.
inline constexpr std::uint32_t kExtentsAtATime = 256;

// What the first handle of a removal does besides, where the file gets shorter.
struct Shrinking {
  bool shrinks = false;            // records the inode's size
  PageRange past_the_end;          // what stays of a cluster: is marked unwritten
  std::unique_ptr<Handle> handle;  // the first one, where it has begun already
  bool listed = false;             // the inode is on the orphan list on account of this
};

// Frees the blocks of a range that nobody can reach, in as many handles as it takes. A crash in the middle of a
// shrinking leaves the file on the orphan list, so that the rest is freed then.
Status remove_in_steps(Inode& inode, PageRange range, Shrinking shrinking = {}) HF_REQUIRES(inode.lock);

// Stores zeros over the memory from byte `offset` of the page on. EIO.
Status zero_device(const Inode& inode, Pfn pfn, std::uint64_t offset, std::uint64_t length);
// Stores zeros over the written bytes of [begin, end). Holes and unwritten blocks are zeros already. EIO; of a page
// that is lost, when all others are zeros.
Status zero_bytes(Inode& inode, std::uint64_t begin, std::uint64_t end) HF_REQUIRES(inode.lock);

}  // namespace holdfast::filesystem
