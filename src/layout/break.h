// Breaking the layout of a range, in two stages: make it free of pins, then take it away.
//
//   Stage 1, wait:  Break::wait. Marks the range, so that no new pin enters, asks for leases of it back (lease.h), and
//                   waits for these and for the pins inside it. Loads, stores, faults, read, write and append go on;
//                   no lock is held; a failure has changed nothing.
//   Stage 2, commit: the caller takes its inode lock, reads size and extents again, and calls commit(): the gate of
//                   the range closes, short holds end within a bounded moment, translations go, entries are zapped.
//                   The caller then takes the blocks out of the file and ends the Commit.
//
// Either/or with a racing pin: the mark is set on the unit's word before pins are read, and a pin is counted by a
// compare-and-exchange on that same word; so the pin is counted before the mark (and is waited for) or is refused.
// Either/or with a racing insert in stage 1: insert reads active marks under the tree lock that marking takes.
//
// Waiting is on pins alone, never on a sum: a re-fault during the wait does not prolong it. Because nothing new enters,
// an index that was seen idle stays idle, and the search goes on where it stopped.
//
// Overlapping breaks queue in order of arrival, before they mark anything.
//
// The caller is in no epoch and inside no Hold of the range.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include <holdfast/types.h>

#include "base/clock.h"
#include "base/parker.h"
#include "base/result.h"
#include "base/units.h"
#include "mapping/mapping.h"

namespace holdfast::layout {

// How long commit() waits for short holds, with the caller's inode lock held.
inline constexpr Nanoseconds kHoldPatience = std::chrono::milliseconds(10);

struct BreakOptions {
  OnPinned on_pinned = OnPinned::wait;
  // For `wait`; for the others the bound of queueing behind another break, and for `fail` of waiting for a copy.
  Deadline deadline;
};

// Pages that left the file while someone still holds them: they must go to quarantine.
struct BusyPages {
  PageIndex index;
  Pfn pfn;
  PageCount count;
};

struct BreakState;

// The range may leave the file. Ends (opens the gate, wakes the parked) when destroyed; must end before its Break.
// While it lives nothing but the caller inserts into the range.
//
// When the caller gives up after all, it ends the Commit without remove_entries: the entries stay ZAP, and the next
// fault or pin takes their references again.
class Commit {
 public:
  Commit(Commit&& other) noexcept : state_(other.state_) { other.state_ = nullptr; }
  Commit& operator=(Commit&&) = delete;
  ~Commit();
  // What is gated and zapped: the range asked for, rounded to the units that straddle its ends.
  PageRange range() const;
  // Of [index, index + count) backed by [pfn, ...): the runs that are pinned or held still. Only after `detach`; for
  // the other policies there are none. May be asked as long as the Commit lives; what is idle once stays idle. A run
  // whose pins go between this call and its registration in quarantine is told of too early by last_put: whoever
  // registers looks at PageMap::first_busy once more afterwards.
  std::vector<BusyPages> busy(PageIndex index, Pfn pfn, PageCount count) const;
  // The holds that a detach overran. Pages that busy() named may be reused when they are idle in the PageMap *and*
  // these have ended (sleep on mapping::hold_ended_key()). Empty for the other policies, and mostly.
  const mapping::LastingHolds& overrun_holds() const;
  // Erases the entries of the range. Call after the blocks are out of the file, also when only some of them are.
  void remove_entries();

 private:
  friend class Break;
  explicit Commit(BreakState& state) : state_(&state) {}
  BreakState* state_;
};

class Break {
 public:
  // Stage 1, blocking. Errors, each with nothing changed:
  //   ETIMEDOUT  deadline; names the holders
  //   EBUSY      policy fail, and someone holds a pin (with identity) or a lease; names them. The holder of the lease
  //              was told all the same
  //   EDEADLK    every pin that is left was taken by this thread and not as released_elsewhere; names them
  //   EINTR      a signal handler ran
  // `detach` waits for nobody but another break of an overlapping range. For EDEADLK the pins of that other break's
  // range count: it ends only with them.
  static Result<Break> wait(mapping::Mapping& mapping, PageRange range, const BreakOptions& options);

  // Stage 1 in steps, for event loops: begin never blocks; advance reports whether commit may follow. While it says
  // `waiting`, `parker` is unparked when advance is worth calling again, or when the deadline has come by the caller's
  // own clock. `parker` must live until advance is called with another one, said `ready`, or the Break ended. Errors as
  // in wait, but no EDEADLK: an event loop may well release the pins itself. `fail` may sleep for a moment, for takers
  // in progress.
  enum class Progress : std::uint8_t { ready, waiting };
  static Break begin(mapping::Mapping& mapping, PageRange range, const BreakOptions& options);
  Result<Progress> advance(Parker& parker);

  // Stage 2. The caller holds the inode lock. nullopt: short holds lasted beyond the bounded moment (or a page that was
  // shared became the file's own, and is pinned); the gate is open again; release the inode lock, call again_wait(),
  // and retry. `detach` never returns nullopt.
  std::optional<Commit> commit();
  // Stage 1 again under the same deadline, after commit() said so: waits for the holds that lasted, too. In steps:
  // advance() does the same.
  Status again_wait();

  Break(Break&&) noexcept;
  Break& operator=(Break&&) noexcept;
  ~Break();  // takes the mark away and wakes those who waited for it

  // The range asked for; once stage 1 is ready, rounded to units.
  PageRange range() const;

 private:
  explicit Break(std::unique_ptr<BreakState> state);
  std::unique_ptr<BreakState> state_;
};

}  // namespace holdfast::layout
