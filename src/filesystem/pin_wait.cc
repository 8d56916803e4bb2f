#include "filesystem/pin_wait.h"

#include <cerrno>
#include <optional>

#include "base/mark.h"
#include "base/wait_queue.h"
#include "filesystem/core.h"
#include "pagemap/pin_table.h"

namespace holdfast::filesystem {
namespace {

std::string describe(std::optional<PageRange> broken) {
  if (!broken) return "a truncate or punch of the range is waiting";
  if (broken->end == kEndOfFile) return fmt::format("a truncate to {} bytes is waiting", broken->first.bytes());
  return fmt::format("a break of bytes {} to {} is waiting", broken->first.bytes(), broken->end.bytes());
}

}  // namespace

Status wait_for_break(Inode& inode, PageRange range, const PinOptions& options, Deadline deadline) {
  const mapping::Mapping& mapping = inode.mapping;
  const std::optional<PageRange> broken = mapping.active_break(range);
  if (options.on_break == OnBreak::fail) {
    return Error(EAGAIN, inode.path_hint(), describe(broken), "try again when it is over");
  }
  if (pagemap::this_thread_holds(mapping.file())) {
    return Error(EDEADLK, inode.path_hint(), describe(broken) + ", maybe for a pin of this very thread",
                 "release this thread's pins of the file first");
  }
  HF_MARK("pin.waits");
  const ParkOutcome outcome = wait_until(mapping.break_key(), deadline,
                                         [&] { return !mapping.active_break(range) && !mapping.gate_closed(range); });
  switch (outcome) {
    case ParkOutcome::unparked:
      return {};
    case ParkOutcome::timed_out:
      return Error(ETIMEDOUT, inode.path_hint(), describe(mapping.active_break(range)));
    case ParkOutcome::interrupted:
      return Error(EINTR, inode.path_hint(), "a signal came while a break was waited for");
  }
  __builtin_unreachable();
}

}  // namespace holdfast::filesystem
