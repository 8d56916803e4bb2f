// Pins of many ranges: all or none, taken in an order that no two callers can cross.
#include <algorithm>
#include <cerrno>
#include <numeric>
#include <utility>

#include "filesystem/pin.h"
#include "filesystem/pin_source.h"
#include "filesystem/pin_track.h"
#include "pin/attempt.h"
#include "pin/report.h"
#include "pin/wait.h"

namespace holdfast::filesystem {

using pin::Attempt;
using pin::AttemptResult;

namespace {

// Takes all, or says which one failed and how; then none is left.
struct Stopped {
  std::size_t which = 0;
  AttemptResult how;
};

std::optional<Stopped> attempt_all(const std::vector<InodeRange>& ranges, const std::vector<std::size_t>& order,
                                   const PinOptions& options, std::vector<Pin>& pins) {
  for (const std::size_t which : order) {
    const InodeRange& range = ranges[which];
    const AttemptResult how = pin::attempt(target_of(*range.inode), range.offset, range.length, options, pins[which]);
    if (how.outcome == Attempt::pinned) continue;
    for (Pin& taken : pins) taken.release();
    return Stopped{which, how};
  }
  return std::nullopt;
}

}  // namespace

Result<std::vector<Pin>> pin_many(Core& core, const std::vector<InodeRange>& ranges, const PinOptions& options) {
  HF_TRY(core.usable());
  std::vector<std::size_t> order(ranges.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&ranges](std::size_t a, std::size_t b) {
    return std::pair(raw(ranges[a].inode->number), ranges[a].offset) <
           std::pair(raw(ranges[b].inode->number), ranges[b].offset);
  });
  const Deadline deadline = Deadline::after(options.deadline);
  std::vector<Pin> pins(ranges.size());
  for (;;) {
    const std::optional<Stopped> stopped = attempt_all(ranges, order, options, pins);
    if (!stopped) return pins;
    const InodeRange& at = ranges[stopped->which];
    const PageRange pages = pages_touched(at.offset, at.length);
    switch (stopped->how.outcome) {
      case Attempt::absent:
        HF_TRY(PinSource(*at.inode).track({stopped->how.at, pages.end}, options.access, deadline));
        break;
      case Attempt::breaking:
        HF_TRY(pin::wait_for_break(at.inode->mapping, at.inode->path_hint(), pages, options, deadline));
        break;
      default:
        return pin::attempt_error(at.inode->path_hint(), stopped->how.outcome);
    }
  }
}

std::vector<PinInfo> pin_report(Core& core, std::size_t limit) {
  std::vector<PinInfo> report = pin::report(core.id(), limit);
  for (PinInfo& info : report) info.path = core.inodes().known_path(InodeNumber(info.inode));
  return report;
}

}  // namespace holdfast::filesystem
