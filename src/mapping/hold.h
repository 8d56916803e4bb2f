// A short hold: this thread is copying to or from, or inserting entries into, a range of a file right now.
//
// Not a pin: it is never reported, lasts as long as one copy, and is waited for when a gate closes. It is published in
// the thread's own slot, so two threads copying share no cache line.
//
// Either/or: a hold is published and then the gates are read; a gate is closed and then the holds are read; both
// pairs are sequentially consistent. So either the hold sees the closed gate and steps back, or the closer sees the
// hold and waits for it. Test: HoldRace.EitherSideSees.
//
// Either/or at the end: a closer asks in the hold's own word to be told; the holder clears that word by an exchange. So
// either the closer finds the hold gone, or the holder finds the question and wakes hold_ended_key().
// Test: HoldRace.EndIsNeverMissed.
//
// A hold that outlasts the patience of a break by `detach` is *overrun*: the range leaves the file under it. What it
// copies goes to blocks that stay in quarantine until it ends; it may insert nothing any more (Mapping::insert says
// EAGAIN), and translations that it installs it must take back: install, then ask overrun(), then end. Who stored bytes
// that are to be the file's asks end(): only the exchange that ends the hold is sure to answer for all of the stores. A
// load behind them might pass them by, and the break copies the old bytes meanwhile.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/atomic.h"
#include "base/clock.h"
#include "base/units.h"

namespace holdfast::mapping {

class Mapping;

// Invariants
//   H1  `word` is 0, or the address of the held mapping with the two flags. Only its thread makes it nonzero.
//   H2  first, end and generation change only while word is 0.
//   H3  generation grows with each use of the slot. Slots are never freed.
struct alignas(64) HoldSlot {
  static constexpr std::uint64_t kAsked = 1;    // someone sleeps until this hold ends
  static constexpr std::uint64_t kOverrun = 2;  // the range has left the file
  static constexpr std::uint64_t kFlags = kAsked | kOverrun;

  Atomic<std::uint64_t> word;
  Atomic<std::uint64_t> first;
  Atomic<std::uint64_t> end;
  Atomic<std::uint64_t> generation;
};

class Hold {
 public:
  // Holds of one thread at one time, over all files.
  static constexpr unsigned kNested = 8;

  // Waits while a gate of the range is closed. nullopt: the deadline passed or a signal came while it was. A range that
  // lies inside another hold of the thread on the same mapping is held at once: the closer waits for that one anyway.
  static std::optional<Hold> enter(Mapping& mapping, PageRange range, Deadline deadline);
  // Never waits.
  static std::optional<Hold> try_enter(Mapping& mapping, PageRange range);

  Hold(Hold&& other) noexcept : slot_(other.slot_) { other.slot_ = nullptr; }
  Hold& operator=(Hold&&) = delete;
  // May run on another thread than enter. Never waits.
  ~Hold() {
    if (slot_ != nullptr) static_cast<void>(leave(*slot_));
  }

  // Ends it before its object. True: it was overrun, so what was stored under it may not be in the file, and what was
  // read may be of before the cut.
  [[nodiscard]] bool end();
  // Whether a detaching break took the range out of the file meanwhile.
  bool overrun() const;

 private:
  explicit Hold(HoldSlot& slot) : slot_(&slot) {}
  static HoldSlot& publish(const Mapping& mapping, PageRange range);
  static bool leave(HoldSlot& slot);

  HoldSlot* slot_;
};

// The holds that were inside a range at one moment; knows later whether they have ended, even when the mapping is gone.
//
// For those who must not reuse pages before that (quarantine): sleep on hold_ended_key() until ended().
class LastingHolds {
 public:
  LastingHolds() = default;
  bool empty() const { return holds_.empty(); }
  // Whether each of them has ended. Once true it stays true.
  bool ended() const;
  // Whether one of them was on this page.
  bool cover(PageIndex index) const;

 private:
  friend class HoldTables;
  struct Seen {
    const HoldSlot* slot;
    std::uint64_t generation;
    PageRange range;
  };
  std::vector<Seen> holds_;
};

// Woken whenever a hold ends that someone asked about: a closing gate, or whoever took LastingHolds. One key for the
// process.
const void* hold_ended_key();

// The tables of all threads.
class HoldTables {
 public:
  // Holds of the mapping that overlap the range. Each is asked to wake hold_ended_key() at its end.
  static LastingHolds lasting(const Mapping& mapping, PageRange range);
  // The same, and marks each as overrun.
  static LastingHolds overrun(const Mapping& mapping, PageRange range);
  // Whether one is there, without asking for anything.
  static bool any(const Mapping& mapping, PageRange range);
  // Whether the calling thread has an overrun hold of the mapping that overlaps the range.
  static bool this_thread_overrun(const Mapping& mapping, PageRange range);
  // Whether one hold of the calling thread contains the range, besides `except`.
  static bool this_thread_holds(const Mapping& mapping, PageRange range, const HoldSlot* except = nullptr);

 private:
  static LastingHolds collect(const Mapping& mapping, PageRange range, std::uint64_t flags);
};

}  // namespace holdfast::mapping
