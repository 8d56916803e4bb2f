#include "layout/break.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "base/epoch.h"
#include "base/mark.h"
#include "base/trace.h"
#include "base/wait_queue.h"
#include "layout/holders.h"
#include "layout/lease.h"

namespace holdfast::layout {

using mapping::LastingHolds;
using mapping::Mapping;

// Where a break is on its way, and what it sleeps on.
struct BreakState {
  BreakState(Mapping& of, PageRange range, const BreakOptions& how)
      : mapping(of),
        requested(range),
        options(how),
        mark(of.queue_mark(range, how.on_pinned == OnPinned::wait && how.deadline.is_never())),
        searched(range.first) {
    HF_TRACE3(break_begin, of.file().inode, range.first.raw(), range.end.raw());
  }
  ~BreakState() {
    waiter.reset();
    mapping.unmark(mark);
    HF_TRACE3(break_end, mapping.file().inode, mark.range.first.raw(), mark.range.end.raw());
  }
  BreakState(const BreakState&) = delete;
  BreakState& operator=(const BreakState&) = delete;

  bool detaches() const { return options.on_pinned == OnPinned::detach; }

  bool take_turn(Parker& parker);
  Result<bool> leases_ended(Parker& parker);
  bool holds_ended(Parker& parker);
  Result<bool> pins_gone(Parker& parker);
  Result<Break::Progress> step(Parker& parker);
  Error too_late() const;
  std::optional<Error> deadlock() const;
  void reopen();

  Mapping& mapping;
  const PageRange requested;
  const BreakOptions options;
  Mapping::BreakMark mark;
  bool active = false;
  PageIndex searched;            // no pins in the range before this index
  LastingHolds holds;            // to wait for before the next commit; after it, those that were overrun
  std::optional<Waiter> waiter;  // queued on what is in the way
};

// Each of the following tests, queues and tests again: see base/wait_queue.h. False: `parker` will be unparked.

bool BreakState::take_turn(Parker& parker) {
  if (!active) {
    active = mapping.try_activate(mark);
    if (!active) {
      waiter.emplace(mapping.break_key(), parker);
      HF_MARK("layout.break.queued");
      active = mapping.try_activate(mark);
      if (!active) return false;
      waiter.reset();
    }
    searched = mark.range.first;
  }
  return true;
}

Result<bool> BreakState::leases_ended(Parker& parker) {
  recall(mapping, mark.range, RecallReason::unmap);
  if (detaches() || none_leased(mapping, mark.range)) return true;
  if (options.on_pinned == OnPinned::fail) return in_the_way(EBUSY, mapping, mark.range, "leased");
  waiter.emplace(lease_ended_key(), parker);
  HF_MARK("layout.break.found_lease");
  if (!none_leased(mapping, mark.range)) return false;
  waiter.reset();
  return true;
}

bool BreakState::holds_ended(Parker& parker) {
  if (holds.ended()) return true;
  waiter.emplace(mapping::hold_ended_key(), parker);
  if (!holds.ended()) return false;
  waiter.reset();
  return true;
}

Result<bool> BreakState::pins_gone(Parker& parker) {
  bool synchronized = false;
  for (;;) {
    const auto busy = mapping.first_pinned({searched, mark.range.end});
    if (!busy) {
      searched = mark.range.end;
      return true;
    }
    searched = std::max(searched, busy->index);
    if (options.on_pinned == OnPinned::fail) {
      if (synchronized) return in_the_way(EBUSY, mapping, mark.range, "pinned");
      // Counts without an identity are takers and releasers on their way; no new one enters behind the mark.
      HF_MARK("layout.break.lets_takers_finish");
      epoch::synchronize();
      synchronized = true;
      continue;
    }
    waiter.emplace(&mapping.pages().count(busy->pfn, busy->order), parker);
    HF_MARK("layout.break.found_pin");
    // Either this word shows that the pins are gone, or the next unpin of the unit wakes us, were it the last or not.
    if (mapping.pages().announce_waiter(busy->pfn, busy->order).pins() != 0) return false;
    waiter.reset();
  }
}

Error BreakState::too_late() const {
  if (!active) {
    const PageRange other = mapping.active_break(requested).value_or(requested);
    return in_the_way(ETIMEDOUT, mapping, other, "another break of the range lasts; pinned");
  }
  if (!holds.ended()) {
    return Error(ETIMEDOUT, fmt::format("inode {}", mapping.file().inode), "a copy of the range is still in progress");
  }
  return in_the_way(ETIMEDOUT, mapping, mark.range, "still pinned");
}

// The range whose pins this break waits for, be it behind other breaks, when all of them are the calling thread's own.
std::optional<Error> BreakState::deadlock() const {
  if (active && !holds.ended()) return std::nullopt;
  for (const PageRange range : active ? std::vector{mark.range} : mapping.waits_behind(mark)) {
    if (waits_for_itself(mapping, range)) {
      return in_the_way(EDEADLK, mapping, range, "this thread would wait for its own pins");
    }
  }
  return std::nullopt;
}

Result<Break::Progress> BreakState::step(Parker& parker) {
  waiter.reset();
  bool ready = take_turn(parker);
  if (ready) {
    HF_ASSIGN(ready, leases_ended(parker));
  }
  ready = ready && holds_ended(parker);
  if (ready && !detaches()) {
    HF_ASSIGN(ready, pins_gone(parker));
  }
  if (ready) return Break::Progress::ready;
  if (options.deadline.passed()) {
    waiter.reset();
    return too_late();
  }
  // Those behind this break look again whether it waits for their own pins alone by now.
  if (active) wake(mapping.break_key());
  return Break::Progress::waiting;
}

void BreakState::reopen() {
  mapping.open_gate(mark.range);
  searched = mark.range.first;
}

// --- Break ---

Break::Break(std::unique_ptr<BreakState> state) : state_(std::move(state)) {}
Break::Break(Break&&) noexcept = default;
Break& Break::operator=(Break&&) noexcept = default;
Break::~Break() = default;

PageRange Break::range() const { return state_->mark.range; }

Break Break::begin(Mapping& mapping, PageRange range, const BreakOptions& options) {
  return Break(std::make_unique<BreakState>(mapping, range, options));
}

Result<Break::Progress> Break::advance(Parker& parker) { return state_->step(parker); }

Result<Break> Break::wait(Mapping& mapping, PageRange range, const BreakOptions& options) {
  Break one = begin(mapping, range, options);
  HF_TRY(one.again_wait());
  return one;
}

Status Break::again_wait() {
  BreakState& state = *state_;
  Parker parker;
  for (;;) {
    HF_ASSIGN(const Progress progress, state.step(parker));
    if (progress == Progress::ready) return {};
    // Asked after each wake: an unpin on the unit wakes even when others remain.
    std::optional<Error> failure = state.deadlock();
    if (!failure) {
      HF_MARK("layout.break.sleeps");
      const ParkOutcome outcome = parker.park(state.options.deadline);
      if (outcome == ParkOutcome::interrupted) {
        failure = Error(EINTR, fmt::format("inode {}", state.mapping.file().inode), "a signal came");
      }
    }
    if (failure) {
      state.waiter.reset();  // before the parker goes
      return std::move(*failure);
    }
  }
}

std::optional<Commit> Break::commit() {
  BreakState& state = *state_;
  HF_CHECK(state.active, "a break commits before its turn");
  const PageRange range = state.mark.range;
  const bool quiet = state.mapping.close_gate(range, kHoldPatience);
  if (!quiet && !state.detaches()) {
    state.holds = mapping::HoldTables::lasting(state.mapping, range);
    state.reopen();
    return std::nullopt;
  }
  // Before translations and entries go: what a lasting hold installs or inserts later it takes back, or may not.
  state.holds = quiet ? LastingHolds() : mapping::HoldTables::overrun(state.mapping, range);
  const auto busy = state.mapping.zap(range);
  HF_MARK("layout.commit.zapped");
  if (busy && !state.detaches()) {
    state.reopen();
    return std::nullopt;
  }
  return Commit(state);
}

// --- Commit ---

Commit::~Commit() {
  if (state_ == nullptr) return;
  state_->reopen();
}

PageRange Commit::range() const { return state_->mark.range; }

const LastingHolds& Commit::overrun_holds() const { return state_->holds; }

std::vector<BusyPages> Commit::busy(PageIndex index, Pfn pfn, PageCount count) const {
  std::vector<BusyPages> runs;
  if (!state_->detaches()) return runs;
  const pagemap::PageMap& pages = state_->mapping.pages();
  const LastingHolds& holds = state_->holds;
  const PageCount one(1);
  const auto held = [&](PageCount at) { return holds.cover(index + at) || !pages.idle(pfn + at); };
  const auto first_busy = [&](PageCount at) {
    if (holds.empty()) return pages.first_busy(pfn + at, count - at) - pfn;
    while (at < count && !held(at)) at += one;
    return at;
  };
  const auto first_idle = [&](PageCount at) {
    if (holds.empty()) return pages.first_idle(pfn + at, count - at) - pfn;
    while (at < count && held(at)) at += one;
    return at;
  };
  PageCount end;
  for (PageCount at = first_busy(end); at < count; at = first_busy(end)) {
    end = first_idle(at);
    // Equal when the last of its pins went between the two looks; none comes any more.
    if (at < end) runs.push_back({index + at, pfn + at, end - at});
  }
  return runs;
}

void Commit::remove_entries() { state_->mapping.remove(state_->requested); }

}  // namespace holdfast::layout
