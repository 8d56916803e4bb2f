// Pins of many ranges: all or none, taken in an order that no two callers can cross.
#include <algorithm>
#include <cerrno>
#include <numeric>
#include <utility>

#include "filesystem/pin.h"
#include "filesystem/pin_attempt.h"
#include "filesystem/pin_track.h"
#include "filesystem/pin_wait.h"
#include "pagemap/pin_table.h"

namespace holdfast::filesystem {
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
    const AttemptResult how = attempt_pin(*range.inode, range.offset, range.length, options, pins[which]);
    if (how.outcome == Attempt::pinned) continue;
    for (Pin& pin : pins) pin.release();
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
        HF_TRY(track(*at.inode, {stopped->how.at, pages.end}, options.access, deadline, Units::make));
        break;
      case Attempt::breaking:
        HF_TRY(wait_for_break(*at.inode, pages, options, deadline));
        break;
      default:
        return attempt_error(*at.inode, stopped->how.outcome);
    }
  }
}

std::vector<PinInfo> pin_report(Core& core, std::size_t limit) {
  std::vector<PinInfo> report;
  const Nanoseconds now = monotonic_coarse_now();
  for (pagemap::Holder& holder : pagemap::holders_of_filesystem(core.id(), limit)) {
    PinInfo info;
    info.inode = holder.identity.file.inode;
    info.path = core.inodes().known_path(InodeNumber(info.inode));
    info.offset = holder.identity.offset;
    info.length = holder.identity.length;
    info.access = holder.identity.access;
    info.purpose = holder.identity.purpose;
    info.pid = holder.pid;
    info.tid = holder.tid;
    info.thread_name = std::move(holder.thread_name);
    info.age = std::max(Nanoseconds(0), now - holder.since);
    const Nanoseconds deadline = holder.identity.deadline;
    info.deadline = deadline == kForever ? kForever : std::max(Nanoseconds(0), deadline - info.age);
    info.released_elsewhere = holder.identity.released_elsewhere;
    report.push_back(std::move(info));
  }
  return report;
}

}  // namespace holdfast::filesystem
