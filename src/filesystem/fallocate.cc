#include "filesystem/fallocate.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <vector>

#include "filesystem/allocation.h"
#include "filesystem/core.h"
#include "filesystem/growth.h"
#include "filesystem/lookup.h"
#include "filesystem/removal.h"
#include "filesystem/times.h"
#include "filesystem/unit_maker.h"
#include "layout/break.h"
#include "layout/lease.h"

namespace holdfast::filesystem {
namespace {

// Blocks asked for at a time: large, so that the format sees whole units; small where space is scarce.
constexpr PageCount kMany{128 * MiB / kPageBytes};
constexpr PageCount kFew{2 * MiB / kPageBytes};

// The holes of the range, in order.
Result<std::vector<PageRange>> holes_of(Inode& inode, PageRange range) HF_REQUIRES(inode.lock) {
  std::vector<PageRange> holes;
  for (PageIndex at = range.first; at < range.end;) {
    HF_ASSIGN(const Found found, locate(inode, at));
    const PageIndex end = std::min(at + found.count, range.end);
    if (found.kind == Found::Kind::hole) {
      if (!holes.empty() && holes.back().end == at) {
        holes.back().end = end;
      } else {
        holes.push_back({at, end});
      }
    }
    at = end;
  }
  return holes;
}

// Blocks that were added a moment ago go again. Those that somebody touched meanwhile stay, unwritten.
void take_back(Inode& inode, const std::vector<PageRange>& added) HF_REQUIRES(inode.lock) {
  for (const PageRange& range : added) {
    if (Status taken = give_back(inode, range, layout::kHoldPatience); !taken) inode.core.note_failure(taken.error());
  }
}

Status fill(Inode& inode, const std::vector<PageRange>& holes) HF_REQUIRES(inode.lock) {
  std::uint64_t wanted = 0;
  for (const PageRange& hole : holes) wanted += hole.count().bytes();
  const std::uint64_t free = inode.core.format().space().free;
  if (wanted > free) return Error(ENOSPC, inode.path_hint(), fmt::format("{} bytes wanted, {} free", wanted, free));
  const PageCount step = free / 4 > wanted ? kMany : kFew;
  std::vector<PageRange> added;
  for (const PageRange& hole : holes) {
    for (PageIndex at = hole.first; at < hole.end;) {
      // Steps end at multiples of their size, so that a unit is asked for in one piece.
      const PageIndex end = std::min(hole.end, PageIndex(round_down((at + step).raw(), step.raw())));
      if (const auto filled = fill_holes(inode, {at, end}, Ahead::no); !filled) {
        if (filled.error().code() == ENOSPC) take_back(inode, added);
        return Error(filled.error());
      }
      added.push_back({at, end});
      at = end;
    }
  }
  return {};
}

}  // namespace

Status allocate(Inode& inode, std::uint64_t offset, std::uint64_t length, bool keep_size) {
  HF_TRY(check_range(inode, offset, length));
  const std::uint64_t end = offset + length;
  HF_TRY(layout::recall_for_write(inode.mapping, pages_touched(offset, length)));
  PageRange came;
  for (bool again = true;; again = false) {
    const auto attempt = [&]() -> Status {
      const MutexLock lock(inode.lock);
      HF_ASSIGN(const std::vector<PageRange> holes, holes_of(inode, pages_touched(offset, length)));
      HF_TRY(fill(inode, holes));
      if (!holes.empty()) came = {holes.front().first, holes.back().end};
      // What was allocated ahead of the file is somebody's wish from now on.
      if (page_after(end) > page_after(inode.attributes.size)) inode.ahead_end = PageIndex(0);
      inode.attributes.changed = file_time_now();
      inode.attributes_unrecorded = true;
      if (keep_size || end <= inode.attributes.size) return {};
      HF_TRY(reveal(inode, end));
      note_change(inode);
      return grow_to(inode, end);
    };
    Status status = attempt();
    make_units(inode, came);
    if (status || status.error().code() != ENOSPC || !again) return status;
    make_space(inode.core);
  }
}

}  // namespace holdfast::filesystem
