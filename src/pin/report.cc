#include "pin/report.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "base/clock.h"
#include "pagemap/pin_table.h"

namespace holdfast::pin {

std::uint32_t new_filesystem_number() {
  static std::atomic<std::uint32_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

std::vector<PinInfo> report(std::uint32_t filesystem, std::size_t limit) {
  std::vector<PinInfo> report;
  const Nanoseconds now = monotonic_coarse_now();
  for (pagemap::Holder& holder : pagemap::holders_of_filesystem(filesystem, limit)) {
    PinInfo info;
    info.inode = holder.identity.file.inode;
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

}  // namespace holdfast::pin
