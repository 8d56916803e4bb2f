// Memory at the same addresses in every schedule. What a schedule allocates comes from a region of the thread that
// allocates, from its beginning on, and regions are taken back when the schedule is over: an object has the same
// address whatever the other threads do, so that words are known by their addresses (sharing.h).
//
// Memory that outlives its schedule, as what is made once in a process, keeps its region; the next schedules have
// another. Nothing is used twice within a schedule.
#pragma once

namespace holdfast::explore::arena {

inline constexpr unsigned kOwners = 9;  // the stage, and threads from 1 on

// What the calling thread allocates until the end of the scope comes from the owner's region.
class Scope {
 public:
  explicit Scope(unsigned owner);
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  const unsigned before_;
};

// The explorer's own memory, on whatever thread it runs.
class Outside : public Scope {
 public:
  Outside();
};

// Between two schedules.
void take_back();

}  // namespace holdfast::explore::arena
