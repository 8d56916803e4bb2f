// Breaking the layout of a range, in two stages: make it free of pins, then take it away.
//
//   Stage 1, wait:  Break::wait. Marks the range, so that no new pin enters, and waits for the pins inside it. Loads,
//                   stores, faults, read, write and append go on; no lock is held; a failure has changed nothing.
//   Stage 2, commit: the caller takes its inode lock, reads size and extents again, and calls commit(): the gate of
//                   the range closes, short holds end within a bounded moment, translations go, entries are zapped.
//                   The caller then takes the blocks out of the file and ends the Commit.
//
// Either/or with a racing pin: the mark is set on the unit's word before pins are read, and a pin is counted by a
// compare-and-exchange on that same word; so the pin is counted before the mark (and is waited for) or is refused.
// Either/or with a racing insert in stage 1: insert reads active marks under the tree lock that marking takes.
//
// Waiting is on pins alone, never on a sum: a re-fault during the wait does not prolong it.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include <holdfast/types.h>

#include "base/clock.h"
#include "base/result.h"
#include "base/units.h"
#include "base/wait_queue.h"
#include "mapping/mapping.h"

namespace holdfast::layout {

struct BreakOptions {
  OnPinned on_pinned = OnPinned::wait;
  Deadline deadline;  // for `wait`; also the bound of queueing behind another break for `fail` and `detach`
};

// Pages that left the file while someone still holds them: they must go to quarantine.
struct BusyPages {
  PageIndex index;
  Pfn pfn;
  PageCount count;
};

// The range may leave the file. Ends (opens the gate, wakes the parked) when destroyed.
class Commit {
 public:
  Commit(Commit&&) noexcept;
  ~Commit();
  PageRange range() const;
  // Of [index, index + count) backed by [pfn, ...): the runs that are pinned or held still. Only after `detach`; for
  // the other policies there are none.
  std::vector<BusyPages> busy(PageIndex index, Pfn pfn, PageCount count) const;
  // Erases the entries of the range. Call after the blocks are out of the file.
  void remove_entries();

 private:
  friend class Break;
  explicit Commit(class Break* of);
  class Break* break_;
};

class Break {
 public:
  // Stage 1, blocking. Errors, each with nothing changed:
  //   ETIMEDOUT  deadline; names the holders
  //   EBUSY      policy fail, and someone holds a pin (with identity); names them
  //   EDEADLK    every pin that is left was taken by this thread and not as released_elsewhere; names them
  //   EINTR      a signal handler ran
  // `detach` waits for nobody but another break of an overlapping range.
  static Result<Break> wait(mapping::Mapping& mapping, PageRange range, const BreakOptions& options);

  // Stage 1 in steps, for event loops: begin never blocks; advance reports whether commit may follow. While it says
  // `waiting`, `parker` is unparked when advance is worth calling again.
  enum class Progress : std::uint8_t { ready, waiting };
  static Break begin(mapping::Mapping& mapping, PageRange range, const BreakOptions& options);
  Result<Progress> advance(Parker& parker);

  // Stage 2. The caller holds the inode lock. nullopt: short holds lasted beyond the bounded moment; the gate is open
  // again; release the inode lock, call again_wait(), and retry. `detach` never returns nullopt.
  std::optional<Commit> commit();
  // Stage 1 again under the same deadline, after commit() said so.
  Status again_wait();

  Break(Break&&) noexcept;
  Break& operator=(Break&&) noexcept;
  ~Break();  // takes the mark away and wakes those who waited for it

  PageRange range() const;

 private:
  friend class Commit;
  struct State;
  explicit Break(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace holdfast::layout
