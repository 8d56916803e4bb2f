#include "filesystem/pin.h"

#include <cerrno>
#include <set>
#include <string>
#include <utility>

#include "base/epoch.h"
#include "base/mark.h"
#include "base/wait_queue.h"
#include "filesystem/pin_attempt.h"
#include "filesystem/pin_builder.h"
#include "filesystem/pin_track.h"
#include "filesystem/pin_wait.h"

namespace holdfast {

// --- the public object ---

Pin::Pin(Pin&& other) noexcept
    : pages_(std::exchange(other.pages_, nullptr)),
      slot_(other.slot_),
      segment_(other.segment_),
      first_pfn_(other.first_pfn_),
      units_(other.units_),
      order_(other.order_),
      more_(std::exchange(other.more_, nullptr)) {}

Pin& Pin::operator=(Pin&& other) noexcept {
  if (this != &other) {
    release();
    pages_ = std::exchange(other.pages_, nullptr);
    slot_ = other.slot_;
    segment_ = other.segment_;
    first_pfn_ = other.first_pfn_;
    units_ = other.units_;
    order_ = other.order_;
    more_ = std::exchange(other.more_, nullptr);
  }
  return *this;
}

Pin::~Pin() {
  if (pages_ != nullptr) release();
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
  // The identity goes first: nobody is named who holds nothing. One guard around both: a break by `fail` lets those in
  // between finish before it counts. The counts come last: after the last of them nothing of the map is touched.
  Units* const more = std::exchange(more_, nullptr);
  {
    const epoch::Guard guard;
    pagemap::release_slot(static_cast<pagemap::PinSlot*>(slot_));
    HF_MARK("pin.nameless");
    if (more == nullptr) {
      Pfn unit(first_pfn_);
      for (std::uint32_t left = units_; left > 0; --left, unit += Order(order_).pages()) {
        pages->unpin(unit, Order(order_));
      }
    } else {
      for (const mapping::PinnedRun& run : more->runs) mapping::unpin(*pages, run);
    }
  }
  delete more;
}

Purpose Purpose::intern(std::string_view text) {
  // Never freed: a report may show the text after the pin is gone.
  static Mutex mutex(LockRank::leaf);
  static auto* const texts = new std::set<std::string, std::less<>>;
  const MutexLock lock(mutex);
  auto found = texts->find(text);
  if (found == texts->end()) found = texts->emplace(text).first;
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

// Inside an epoch, with the slot taken; confirms it or leaves it to the caller.
[[gnu::noinline]] AttemptResult attempt_runs(Inode& inode, std::uint64_t offset, std::uint64_t length,
                                             pagemap::PinSlot* slot, Pin& pin) {
  const pagemap::PageMap& pages = inode.core.pages();
  std::vector<mapping::PinnedRun> runs;
  const PageRange range = pages_touched(offset, length);
  const mapping::Mapping::PinResult result = inode.mapping.try_pin(range, runs);
  if (result.outcome != mapping::Mapping::PinOutcome::pinned) return {attempt_of(result.outcome), result.at};
  HF_MARK("pin.counted");
  if (!inside_file(inode, offset, length)) {
    for (const mapping::PinnedRun& run : runs) mapping::unpin(pages, run);
    return {Attempt::past_the_end, range.first};
  }
  const PageIndex first_unit = range.first.align_down(runs.front().order);
  std::vector<Segment> segments = segments_of(inode, runs, first_unit, offset, length);
  pagemap::confirm_slot(slot);
  if (runs.size() == 1) {
    PinBuilder::fill(pin, pages, slot, runs.front(), segments.front());
  } else {
    PinBuilder::fill(pin, pages, slot, std::move(runs), std::move(segments), length);
  }
  return {Attempt::pinned, range.first};
}

// The fast way, in one piece: what it calls is inlined, and so is it where pins are taken.
[[gnu::flatten]] inline AttemptResult attempt(Inode& inode, std::uint64_t offset, std::uint64_t length,
                                              const PinOptions& options, Pin& pin) {
  const PageIndex index = page_holding(offset);
  if (__builtin_expect(!inside_file(inode, offset, length), 0)) return {Attempt::past_the_end, index};
  const epoch::Guard guard;
  pagemap::PinSlot* const slot = pagemap::take_slot(identity_of(inode, offset, length, options));
  if (__builtin_expect(slot == nullptr, 0)) return {Attempt::no_memory, index};
  // One unit covers the range: always so for one page, else where the entry is large.
  const PageIndex end = page_after(offset + length);
  if (end - index == PageCount(1) || end <= index.align_down(kOrder2M) + kOrder2M.pages()) {
    mapping::PinnedRun run;
    const mapping::Mapping::PinResult result = inode.mapping.try_pin_unit(index, run);
    if (__builtin_expect(result.outcome != mapping::Mapping::PinOutcome::pinned, 0)) {
      pagemap::release_slot(slot);
      return {attempt_of(result.outcome), result.at};
    }
    HF_MARK("pin.counted");
    const PageIndex unit = index.align_down(run.order);
    if (__builtin_expect(end <= unit + run.order.pages(), 1)) {
      // A unit may reach past the end of the file: whether the range does is known only now that it stays in place.
      if (__builtin_expect(inside_file(inode, offset, length), 1)) {
        pagemap::confirm_slot(slot);
        PinBuilder::fill(pin, inode.core.pages(), slot, run,
                         segment_of(inode, run.first.bytes() + (offset - unit.bytes()), length));
        return {Attempt::pinned, index};
      }
      pagemap::release_slot(slot);
      mapping::unpin(inode.core.pages(), run);
      return {Attempt::past_the_end, index};
    }
    mapping::unpin(inode.core.pages(), run);
  }
  const AttemptResult result = attempt_runs(inode, offset, length, slot, pin);
  if (result.outcome != Attempt::pinned) pagemap::release_slot(slot);
  return result;
}

}  // namespace

AttemptResult attempt_pin(Inode& inode, std::uint64_t offset, std::uint64_t length, const PinOptions& options,
                          Pin& pin) {
  return attempt(inode, offset, length, options, pin);
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

// The first attempt failed with `how`.
[[gnu::noinline]] Result<Pin> pin_slowly(Inode& inode, std::uint64_t offset, std::uint64_t length,
                                         const PinOptions& options, AttemptResult how) {
  const Deadline deadline = Deadline::after(options.deadline);
  const PageRange range = pages_touched(offset, length);
  Pin pin;
  for (;;) {
    switch (how.outcome) {
      case Attempt::pinned:
        return pin;
      case Attempt::absent:
        HF_MARK("pin.absent");
        HF_TRY(track(inode, {how.at, range.end}, options.access, deadline));
        break;
      case Attempt::breaking:
        HF_TRY(wait_for_break(inode, range, options, deadline));
        break;
      default:
        return attempt_error(inode, how.outcome);
    }
    how = attempt_pin(inode, offset, length, options, pin);
  }
}

}  // namespace

Result<Pin> try_pin(Inode& inode, std::uint64_t offset, std::uint64_t length, const PinOptions& options) {
  Result<Pin> result{Pin()};
  if (__builtin_expect(!inode.core.is_usable(), 0)) {
    result = inode.core.usable_error();
    return result;
  }
  const AttemptResult how = attempt(inode, offset, length, options, *result);
  if (__builtin_expect(how.outcome != Attempt::pinned, 0)) result = attempt_error(inode, how.outcome);
  return result;
}

Result<Pin> pin(Inode& inode, std::uint64_t offset, std::uint64_t length, const PinOptions& options) {
  // One variable on every path: the pin is made where the caller wants it.
  Result<Pin> result{Pin()};
  if (__builtin_expect(!inode.core.is_usable(), 0)) {
    result = inode.core.usable_error();
    return result;
  }
  const AttemptResult how = attempt(inode, offset, length, options, *result);
  if (__builtin_expect(how.outcome != Attempt::pinned, 0)) result = pin_slowly(inode, offset, length, options, how);
  return result;
}

}  // namespace filesystem
}  // namespace holdfast
