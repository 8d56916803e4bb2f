// Stage 1 of a break for ranges of two files, or of two places in one: what a move or a share of blocks between files
// needs (remap, reflink; the kernel's xfs_mmaplock_two_inodes_and_break_dax_layout, which spins while the second is
// pinned).
//
// Nothing is held while pins of the other range are waited for: who holds a pin of one file and wants one of the other
// would wait for the break, and the break for him. So: both marks are taken in a fixed order; where the second range is
// pinned the first mark goes, the second range is waited for alone, and it all begins again. Each round sleeps on a pin
// or behind another break: no busy loop. Test: Sharing.R16_TwoFilesBreakTogether.
#pragma once

#include <utility>

#include "layout/break.h"

namespace holdfast::layout {

struct BreakTarget {
  mapping::Mapping* mapping = nullptr;
  PageRange range;
};

// Both have their stage 1 done, in the order of the arguments. Errors as Break::wait, with nothing changed; they name
// the file that was in the way. EINVAL: two ranges of one file that share a unit.
Result<std::pair<Break, Break>> break_both(BreakTarget one, BreakTarget other, const BreakOptions& options);

}  // namespace holdfast::layout
