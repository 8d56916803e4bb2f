#include "pin/attempt.h"

#include <cerrno>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/epoch.h"
#include "base/mark.h"
#include "pin/builder.h"
#include "pin/fast.h"
#include "pin/release.h"
#include "pin/wait.h"

namespace holdfast::pin {
namespace {

Attempt attempt_of(mapping::Mapping::PinOutcome outcome) {
  switch (outcome) {
    case mapping::Mapping::PinOutcome::pinned:
      return Attempt::pinned;
    case mapping::Mapping::PinOutcome::absent:
      return Attempt::absent;
    case mapping::Mapping::PinOutcome::breaking:
      return Attempt::breaking;
    case mapping::Mapping::PinOutcome::full:
      return Attempt::full;
    case mapping::Mapping::PinOutcome::shared:
      HF_CHECK(false, "an entry is shared, but no format here shares blocks");
  }
  __builtin_unreachable();
}

// The runs as device ranges: what the range touches of them, neighbours joined.
std::vector<Segment> segments_of(const Target& target, const std::vector<mapping::PinnedRun>& runs,
                                 PageIndex first_unit, std::uint64_t offset, std::uint64_t length) {
  std::vector<Segment> segments;
  std::uint64_t run_offset = first_unit.bytes();  // in the file
  for (const mapping::PinnedRun& run : runs) {
    const std::uint64_t run_end = run_offset + run.pages().bytes();
    const std::uint64_t begin = std::max(run_offset, offset);
    const std::uint64_t end = std::min(run_end, offset + length);
    const Segment next = segment_of(target, run.first.bytes() + (begin - run_offset), end - begin);
    if (!segments.empty() && segments.back().device_offset + segments.back().length == next.device_offset) {
      segments.back().length += next.length;
    } else {
      segments.push_back(next);
    }
    run_offset = run_end;
  }
  return segments;
}

}  // namespace

AttemptResult attempt(const Target& target, std::uint64_t offset, std::uint64_t length, const PinOptions& options,
                      Pin& taken) {
  const pagemap::PageMap& pages = target.mapping().pages();
  const PageRange range = pages_touched(offset, length);
  if (!inside(target, offset, length)) return {Attempt::past_the_end, range.first};
  std::vector<mapping::PinnedRun> runs;
  const epoch::Guard guard;
  pagemap::PinSlot* const slot = pagemap::take_slot(identity_of(target, offset, length, options));
  if (slot == nullptr) return {Attempt::no_memory, range.first};
  const mapping::Mapping::PinResult result = target.mapping().try_pin(range, runs, options.access);
  if (result.outcome != mapping::Mapping::PinOutcome::pinned) {
    pagemap::release_slot(slot);
    return {attempt_of(result.outcome), result.at};
  }
  HF_MARK("pin.counted");
  if (!inside(target, offset, length)) {
    release_counted(pages, slot, runs);
    return {Attempt::past_the_end, range.first};
  }
  const PageIndex first_unit = range.first.align_down(runs.front().order);
  std::vector<Segment> segments = segments_of(target, runs, first_unit, offset, length);
  pagemap::confirm_slot(slot);
  if (runs.size() == 1) {
    taken = PinBuilder::make(pages, slot, runs.front(), segments.front());
  } else {
    taken = PinBuilder::make(pages, slot, std::move(runs), std::move(segments), length);
  }
  return {Attempt::pinned, range.first};
}

Error attempt_error(std::string name, Attempt outcome) {
  switch (outcome) {
    case Attempt::absent:
      return Error(EAGAIN, std::move(name), "the range is not tracked yet", "pin it once with pin()");
    case Attempt::breaking:
      return Error(EAGAIN, std::move(name), "a truncate or punch of the range is waiting");
    case Attempt::full:
      return Error(EAGAIN, std::move(name), "a page has as many pins as it can count", "release some");
    case Attempt::past_the_end:
      return Error(ENXIO, std::move(name), "the range is empty or reaches past the end");
    case Attempt::no_memory:
      return Error(ENOMEM, std::move(name), "no memory for the pin's identity");
    case Attempt::pinned:
      break;
  }
  HF_CHECK(false, "a pin that was taken is no error");
  __builtin_unreachable();
}

Result<Pin> take_slowly(Source& source, std::uint64_t offset, std::uint64_t length, const PinOptions& options) {
  const Deadline deadline = Deadline::after(options.deadline);
  const PageRange range = pages_touched(offset, length);
  const Target target = source.target();
  Pin taken;
  for (;;) {
    const AttemptResult how = attempt(target, offset, length, options, taken);
    switch (how.outcome) {
      case Attempt::pinned:
        return taken;
      case Attempt::absent:
        HF_MARK("pin.absent");
        HF_TRY(source.track({how.at, range.end}, options.access, deadline));
        HF_MARK("pin.tracked");
        break;
      case Attempt::breaking:
        HF_TRY(wait_for_break(target.mapping(), source.name(), range, options, deadline));
        break;
      default:
        return attempt_error(source.name(), how.outcome);
    }
  }
}

Result<Pin> try_take_slowly(Source& source, std::uint64_t offset, std::uint64_t length, const PinOptions& options) {
  Pin taken;
  const AttemptResult how = attempt(source.target(), offset, length, options, taken);
  if (how.outcome != Attempt::pinned) return attempt_error(source.name(), how.outcome);
  return taken;
}

}  // namespace holdfast::pin
