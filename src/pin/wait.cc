#include "pin/wait.h"

#include <cerrno>
#include <optional>
#include <utility>

#include "base/mark.h"
#include "base/wait_queue.h"
#include "pagemap/pin_table.h"

namespace holdfast::pin {
namespace {

std::string describe(std::optional<PageRange> broken) {
  if (!broken) return "a truncate or punch of the range is waiting";
  if (broken->end == kEndOfFile) return fmt::format("a truncate to {} bytes is waiting", broken->first.bytes());
  return fmt::format("a break of bytes {} to {} is waiting", broken->first.bytes(), broken->end.bytes());
}

}  // namespace

Status wait_for_break(const mapping::Mapping& mapping, std::string name, PageRange range, const PinOptions& options,
                      Deadline deadline) {
  const std::optional<PageRange> broken = mapping.active_break(range);
  if (options.on_break == OnBreak::fail) {
    return Error(EAGAIN, std::move(name), describe(broken), "try again when it is over");
  }
  if (pagemap::this_thread_holds(mapping.file())) {
    return Error(EDEADLK, std::move(name), describe(broken) + ", maybe for a pin of this very thread",
                 "release this thread's pins of the file first");
  }
  HF_MARK("pin.waits");
  const ParkOutcome outcome = wait_until(mapping.break_key(), deadline,
                                         [&] { return !mapping.active_break(range) && !mapping.gate_closed(range); });
  switch (outcome) {
    case ParkOutcome::unparked:
      return {};
    case ParkOutcome::timed_out:
      return Error(ETIMEDOUT, std::move(name), describe(mapping.active_break(range)));
    case ParkOutcome::interrupted:
      return Error(EINTR, std::move(name), "a signal came while a break was waited for");
  }
  __builtin_unreachable();
}

}  // namespace holdfast::pin
