// Detaching: the pages of a broken range that somebody holds go to the holding inode.
//
// In one handle, or, where they are many or lie in many pieces, in several, as a log takes so much at once. What can be
// seen of that after a crash: of a file that was to be shorter the new size, with the orphan list completing it; of a
// punch or a zero range, which have no moment in which all of them happens, a part.
//
// A held page that stays in the file in part (the edge of a cut) is replaced by a copy: the holder keeps the old block
// with its bytes, the file gets a new one.
//
// Steps: find (reads only), move (the handles; ENOSPC undoes it), and, once the entries are gone, hand_over (the pages'
// owner becomes the holding inode, whose last puts free them). The holding inode's lock is held from move to the end.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
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
  // ENOSPC: nothing has changed. Returns the last handle, still open, with room for the first step of a removal: what
  // is to be seen together with the move after a crash belongs into it. `new_size`, where the file gets shorter.
  // hand_over must follow.
  Result<std::unique_ptr<Handle>> move(std::optional<std::uint64_t> new_size);
  // The handles before the last one said the new size, and have put the inode on the orphan list.
  bool announced() const { return announced_; }
  // After Commit::remove_entries, and whatever failed since move(), before anything else may: copies in progress are
  // known from here on, and what they touch is not freed.
  void hand_over();

 private:
  struct Run {
    PageRange range;              // of the file, whole clusters
    PageIndex to;                 // in the holding inode
    std::vector<Extent> extents;  // of the file: where the pages were
  };
  // A page or more that is replaced by a copy: old and new one, in the holding inode.
  struct Step {
    Run* run = nullptr;
    bool copied = false;
    PageIndex fresh;  // where the copy was
  };
  Status find_runs(PageRange leaving);
  void add_run(PageRange range, std::vector<Extent> extents);
  Status find_copies(Bytes edge);
  // Locks it until the end of this object, which the analysis cannot follow.
  Status get_holding() HF_NO_THREAD_SAFETY_ANALYSIS;
  Status make_holding();
  Result<std::unique_ptr<Handle>> begin();
  Status announce(Handle& handle, std::uint64_t new_size);
  Status move_run(Handle& handle, Run& run);
  Status replace(Handle& handle, Run& run);
  Status move_back(Handle& handle, const Step& step);
  Status take_back();
  void show_copies();
  Status copy(Handle& handle, const Run& run, std::vector<Extent>& fresh);
  Status copy_page(std::byte* to, Pfn from, PageIndex at);
  void set_owner(const Run& run);

  Inode& inode_;
  const layout::Commit& commit_;
  std::array<Bytes, 2> edges_{};
  std::vector<Run> runs_;
  std::vector<Run> copies_;
  std::vector<Step> done_;
  std::vector<std::vector<Extent>> fresh_;  // of the copies that are done, where they were made
  InodeRef holding_;
  bool locked_ = false;
  bool announced_ = false;
};

}  // namespace holdfast::filesystem
