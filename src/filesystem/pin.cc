#include "filesystem/pin.h"

#include <cerrno>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "base/epoch.h"
#include "base/mark.h"
#include "base/trace.h"
#include "base/wait_queue.h"
#include "filesystem/pin_attempt.h"
#include "filesystem/pin_builder.h"
#include "filesystem/pin_track.h"
#include "filesystem/pin_wait.h"

namespace holdfast {

// --- the public object ---

namespace {

// The identity goes first: nobody is named who holds nothing. The counts come last: after the last of them nothing of
// the map is touched. Inside an epoch: a break by `fail` lets those in between finish before it counts.
[[gnu::always_inline]] inline void release_counted(const pagemap::PageMap& pages, pagemap::PinSlot* slot, Pfn unit,
                                                   Order order) {
  pagemap::release_slot(slot);
  HF_MARK("pin.nameless");
  HF_TRACE3(unpin, unit.raw(), 1, order.raw());
  pages.unpin(unit, order);
}

[[gnu::noinline]] void release_counted(const pagemap::PageMap& pages, pagemap::PinSlot* slot,
                                       const std::vector<mapping::PinnedRun>& runs) {
  pagemap::release_slot(slot);
  HF_MARK("pin.nameless");
  for (const mapping::PinnedRun& run : runs) mapping::unpin(pages, run);
}

}  // namespace

Pin& Pin::operator=(Pin&& other) noexcept {
  if (this != &other) {
    release();
    pages_ = std::exchange(other.pages_, nullptr);
    slot_ = other.slot_;
    segment_ = other.segment_;
    units_ = other.units_;
    order_ = other.order_;
    more_ = std::exchange(other.more_, nullptr);
  }
  return *this;
}

std::span<const Segment> Pin::segments() const noexcept {
  if (pages_ == nullptr) return {};
  if (more_ != nullptr) return more_->segments;
  return {&segment_, 1};
}

std::uint64_t Pin::length() const noexcept { return pages_ == nullptr ? 0 : segment_.length; }

void Pin::release() noexcept {
  const auto* const pages = static_cast<const pagemap::PageMap*>(std::exchange(pages_, nullptr));
  if (pages == nullptr) return;
  auto* const slot = static_cast<pagemap::PinSlot*>(slot_);
  const epoch::Guard guard;
  if (more_ == nullptr && units_ == 1) [[likely]] {
    return release_counted(*pages, slot, PinBuilder::first_unit_of(*this), Order(order_));
  }
  if (more_ == nullptr) return release_counted(*pages, slot, {PinBuilder::run_of(*this)});
  const std::unique_ptr<Units> units(std::exchange(more_, nullptr));
  release_counted(*pages, slot, units->runs);
}

Purpose Purpose::intern(std::string_view text) {
  // Never freed: a report may show the text after the pin is gone.
  static Mutex mutex(LockRank::leaf);
  static auto* const texts = new std::set<std::string, std::less<>>;
  const std::string own(text);  // before the lock: it may lie in a window
  const MutexLock lock(mutex);
  const auto found = texts->insert(own).first;
  return Purpose(found->c_str());
}

namespace filesystem {
namespace {

pagemap::PinIdentity identity_of(const Inode& inode, std::uint64_t offset, std::uint64_t length,
                                 const PinOptions& options) {
  return {.file = inode.mapping.file(),
          .offset = offset,
          .length = length,
          .purpose = options.purpose.text(),
          .deadline = options.deadline,
          .access = options.access,
          .released_elsewhere = options.released_elsewhere};
}

bool inside_file(const Inode& inode, std::uint64_t offset, std::uint64_t length) {
  // acquire: partner is the store in grow_to and take_out.
  const std::uint64_t size = inode.size.load(std::memory_order_acquire);
  return offset < size && length - 1 < size - offset;  // length 0 wraps: never inside
}

Segment segment_of(const Inode& inode, std::uint64_t device_offset, std::uint64_t length) {
  return {inode.core.window() + device_offset, device_offset, length};
}

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
  }
  __builtin_unreachable();
}

// The runs as device ranges: what the range touches of them, neighbours joined.
std::vector<Segment> segments_of(const Inode& inode, const std::vector<mapping::PinnedRun>& runs, PageIndex first_unit,
                                 std::uint64_t offset, std::uint64_t length) {
  std::vector<Segment> segments;
  std::uint64_t run_offset = first_unit.bytes();  // in the file
  for (const mapping::PinnedRun& run : runs) {
    const std::uint64_t run_end = run_offset + run.pages().bytes();
    const std::uint64_t begin = std::max(run_offset, offset);
    const std::uint64_t end = std::min(run_end, offset + length);
    const Segment next = segment_of(inode, run.first.bytes() + (begin - run_offset), end - begin);
    if (!segments.empty() && segments.back().device_offset + segments.back().length == next.device_offset) {
      segments.back().length += next.length;
    } else {
      segments.push_back(next);
    }
    run_offset = run_end;
  }
  return segments;
}

// What the fast way counted, and where it is.
struct PinnedUnit {
  pagemap::PinSlot* slot = nullptr;
  mapping::PinnedRun run;
  Segment segment;
};

[[gnu::noinline, gnu::cold]] void undo(const pagemap::PageMap& pages, pagemap::PinSlot* slot, mapping::PinnedRun run) {
  release_counted(pages, slot, run.first, run.order);
}

// The fast way, inside an epoch: one unit covers the range, always so for one page, else where the entry is large. What
// it cannot do it leaves undone, without a word why: the slow way finds out. It is inlined with all it calls where pins
// are taken, and says so little because at this length each value that passes through memory shows.
[[gnu::always_inline]] inline bool pin_unit(Inode& inode, std::uint64_t offset, std::uint64_t length,
                                            const PinOptions& options, PinnedUnit& taken) {
  const PageIndex index = page_holding(offset);
  const PageIndex end = page_after(offset + length);
  if (end - index > PageCount(1) && end > index.align_down(kOrder2M) + kOrder2M.pages()) return false;
  pagemap::PinSlot* const slot = pagemap::take_slot(identity_of(inode, offset, length, options));
  if (slot == nullptr) [[unlikely]] {
    return false;
  }
  mapping::PinnedRun run;
  if (inode.mapping.try_pin_unit(index, run).outcome != mapping::Mapping::PinOutcome::pinned) [[unlikely]] {
    pagemap::release_slot(slot);
    return false;
  }
  HF_MARK("pin.counted");
  const PageIndex unit = index.align_down(run.order);
  // A unit may reach past the end of the file: whether the range does is known only now that it stays in place.
  if (end > unit + run.order.pages() || !inside_file(inode, offset, length)) [[unlikely]] {
    undo(inode.core.pages(), slot, run);
    return false;
  }
  pagemap::confirm_slot(slot);
  taken = {slot, run, segment_of(inode, run.first.bytes() + (offset - unit.bytes()), length)};
  return true;
}

}  // namespace

AttemptResult attempt_pin(Inode& inode, std::uint64_t offset, std::uint64_t length, const PinOptions& options,
                          Pin& pin) {
  const pagemap::PageMap& pages = inode.core.pages();
  const PageRange range = pages_touched(offset, length);
  if (!inside_file(inode, offset, length)) return {Attempt::past_the_end, range.first};
  std::vector<mapping::PinnedRun> runs;
  const epoch::Guard guard;
  pagemap::PinSlot* const slot = pagemap::take_slot(identity_of(inode, offset, length, options));
  if (slot == nullptr) return {Attempt::no_memory, range.first};
  const mapping::Mapping::PinResult result = inode.mapping.try_pin(range, runs);
  if (result.outcome != mapping::Mapping::PinOutcome::pinned) {
    pagemap::release_slot(slot);
    return {attempt_of(result.outcome), result.at};
  }
  HF_MARK("pin.counted");
  if (!inside_file(inode, offset, length)) {
    release_counted(pages, slot, runs);
    return {Attempt::past_the_end, range.first};
  }
  const PageIndex first_unit = range.first.align_down(runs.front().order);
  std::vector<Segment> segments = segments_of(inode, runs, first_unit, offset, length);
  pagemap::confirm_slot(slot);
  if (runs.size() == 1) {
    pin = PinBuilder::make(pages, slot, runs.front(), segments.front());
  } else {
    pin = PinBuilder::make(pages, slot, std::move(runs), std::move(segments), length);
  }
  return {Attempt::pinned, range.first};
}

Error attempt_error(const Inode& inode, Attempt outcome) {
  switch (outcome) {
    case Attempt::absent:
      return Error(EAGAIN, inode.path_hint(), "the range is not tracked yet", "pin it once with pin()");
    case Attempt::breaking:
      return Error(EAGAIN, inode.path_hint(), "a truncate or punch of the range is waiting");
    case Attempt::full:
      return Error(EAGAIN, inode.path_hint(), "a page has as many pins as it can count", "release some");
    case Attempt::past_the_end:
      return Error(ENXIO, inode.path_hint(), "the range is empty or reaches past the end of the file");
    case Attempt::no_memory:
      return Error(ENOMEM, inode.path_hint(), "no memory for the pin's identity");
    case Attempt::pinned:
      break;
  }
  HF_CHECK(false, "a pin that was taken is no error");
  __builtin_unreachable();
}

namespace {

[[gnu::noinline]] Result<Pin> pin_slowly(Inode& inode, std::uint64_t offset, std::uint64_t length,
                                         const PinOptions& options) {
  if (!inode.core.is_usable()) return inode.core.usable_error();
  const Deadline deadline = Deadline::after(options.deadline);
  const PageRange range = pages_touched(offset, length);
  Pin pin;
  for (;;) {
    const AttemptResult how = attempt_pin(inode, offset, length, options, pin);
    switch (how.outcome) {
      case Attempt::pinned:
        return pin;
      case Attempt::absent:
        HF_MARK("pin.absent");
        HF_TRY(track(inode, {how.at, range.end}, options.access, deadline, Units::make));
        HF_MARK("pin.tracked");
        break;
      case Attempt::breaking:
        HF_TRY(wait_for_break(inode, range, options, deadline));
        break;
      default:
        return attempt_error(inode, how.outcome);
    }
  }
}

[[gnu::noinline]] Result<Pin> try_pin_slowly(Inode& inode, std::uint64_t offset, std::uint64_t length,
                                             const PinOptions& options) {
  if (!inode.core.is_usable()) return inode.core.usable_error();
  Pin pin;
  const AttemptResult how = attempt_pin(inode, offset, length, options, pin);
  if (how.outcome != Attempt::pinned) return attempt_error(inode, how.outcome);
  return pin;
}

}  // namespace

Result<Pin> try_pin(Inode& inode, std::uint64_t offset, std::uint64_t length, const PinOptions& options) {
  if (inode.core.is_usable()) [[likely]] {
    PinnedUnit taken;
    const epoch::Guard guard;
    if (pin_unit(inode, offset, length, options, taken)) [[likely]] {
      return PinBuilder::make(inode.core.pages(), taken.slot, taken.run, taken.segment);
    }
  }
  return try_pin_slowly(inode, offset, length, options);
}

Result<Pin> pin(Inode& inode, std::uint64_t offset, std::uint64_t length, const PinOptions& options) {
  if (inode.core.is_usable()) [[likely]] {
    PinnedUnit taken;
    const epoch::Guard guard;
    if (pin_unit(inode, offset, length, options, taken)) [[likely]] {
      return PinBuilder::make(inode.core.pages(), taken.slot, taken.run, taken.segment);
    }
  }
  return pin_slowly(inode, offset, length, options);
}

}  // namespace filesystem
}  // namespace holdfast
