// Detaching: the pages of a broken range that somebody holds go to the holding inode, in one handle.
//
// A held page that stays in the file in part (the edge of a cut) is replaced by a copy: the holder keeps the old block
// with its bytes, the file gets a new one.
//
// Steps: find (reads only), move (the handle; ENOSPC undoes it), and, once the entries are gone, hand_over (the pages'
// owner becomes the holding inode, whose last puts free them). The holding inode's lock is held from move to the end.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "filesystem/inode.h"
#include "layout/break.h"

namespace holdfast::filesystem {

// A break by detach takes the entries of whole units away. Pages of such a unit that stay in the file and are pinned
// through it get entries of their own again: a later break finds pins by entries. Before the Commit ends.
Status track_pinned(Inode& inode, const layout::Commit& commit, PageRange left) HF_REQUIRES(inode.lock);

// Lives while its maker holds the inode's lock. The analysis does not know that inode_ is the maker's inode, so the
// functions assert it.
class QuarantineMove {
 public:
  using Bytes = std::pair<std::uint64_t, std::uint64_t>;  // [first, second) of the file

  QuarantineMove(Inode& inode, const layout::Commit& commit) : inode_(inode), commit_(commit) {}
  ~QuarantineMove();
  QuarantineMove(const QuarantineMove&) = delete;
  QuarantineMove& operator=(const QuarantineMove&) = delete;

  // What is held of the clusters that leave, and of those that stay and are to be zero in `edges`.
  Status find(PageRange leaving, const std::array<Bytes, 2>& edges);
  bool empty() const { return runs_.empty() && copies_.empty(); }
  // ENOSPC: nothing has changed. Returns the handle, still open, with room for the first step of a removal: what is to
  // be seen together with the move after a crash belongs into it. hand_over must follow.
  Result<std::unique_ptr<Handle>> move();
  // After Commit::remove_entries, and whatever failed since move(), before anything else may: copies in progress are
  // known from here on, and what they touch is not freed.
  void hand_over();

 private:
  struct Run {
    PageRange range;              // of the file, whole clusters
    PageIndex to;                 // in the holding inode
    std::vector<Extent> extents;  // of the file: where the pages were
  };
  Status find_runs(PageRange leaving);
  Status find_copies(Bytes edge);
  // Locks it until the end of this object, which the analysis cannot follow.
  Status get_holding() HF_NO_THREAD_SAFETY_ANALYSIS;
  Status make_holding();
  Status copy(Handle& handle, const Run& run, std::vector<Extent>& fresh);
  Status copy_page(std::byte* to, Pfn from, PageIndex at);
  void set_owner(const Run& run);

  Inode& inode_;
  const layout::Commit& commit_;
  std::array<Bytes, 2> edges_{};
  std::vector<Run> runs_;
  std::vector<Run> copies_;
  InodeRef holding_;
  bool locked_ = false;
};

}  // namespace holdfast::filesystem
