// Blocks that several files have (reflink). The format below counts who has a block; here an entry only knows whether
// others *may* have it: SHARED.
//
// What differs for a SHARED entry, and why:
//   - Nobody stores to the page through it: a pin for writing answers `shared`, and its translations refuse stores. Who
//     wants to store gives the file a block of its own first (copies, takes the entry away, inserts the copy), or finds
//     that nobody else has the block any more, and calls make_own.
//   - A break does not wait for its pins and marks nothing on its page: the block stays where it is, another file has
//     it, and the holder keeps what he pinned. So the break of one file neither waits for the holders of another nor
//     turns them away.
//   - The page has no back pointer (kNoOwner), as there is no one file to name. Who puts such a page in quarantine
//     makes itself the owner by PageMap::set_owner, and looks once more.
//   - `tracked` counts the entries of all files, each of which took its one reference when it was inserted and gives it
//     back when it is zapped, like any other.
//
// The block is freed by the file that lets go of it last: the format's count says which one that is, atomically. That
// file zaps its entry first, then counts itself out, and only then looks whether the page is idle: pins taken through
// other files are on the same count. Either/or of two files that let go at once: the count goes down in two steps, so
// exactly one of them reads that it was the last, and the zap of the other came before its step. Busy pages are not
// freed: they go to quarantine; or, where the policy is to wait and the count said "the last" beforehand, the entry is
// made the file's own and the break waits as for any other.
// Tests: Sharing.TwoFilesLetGoAtOnce, Sharing.TheLastOneWaitsForPinsOfOthers.
#include "base/check.h"
#include "base/epoch.h"
#include "mapping/walk.h"

namespace holdfast::mapping {

void Mapping::make_own(PageRange range) {
  bool moved = false;
  change_unlocked(range, [&](XArray::Cursor& cursor) {
    tree_.assert_held();  // by change_batch
    const Entry entry = cursor.entry();
    if (!entry.has_page() || !entry.shared()) return;
    HF_DEBUG_CHECK(pages_.read(entry.pfn(), entry.order()).tracked() <= (entry.tracks() ? 1U : 0U),
                   "M1: others name page {:#x} still", entry.pfn().raw());
    // The owner and the mark before the entry: who pins it as the file's own finds both.
    pages_.set_owner(entry.pfn(), entry.order(), owner_id_, cursor.index());
    moved = true;
    if (entry.tracks() && marks_now({cursor.index(), cursor.behind()})) pages_.set_break(entry.pfn(), entry.order());
    HF_MARK("mapping.own.owner_set");
    cursor.replace(entry.as_own());
  });
  HF_MARK("mapping.own.changed");
  // Whoever moves the owner next (quarantine) does so an epoch later: see set_owner.
  if (moved) epoch::synchronize();
}

}  // namespace holdfast::mapping
