// One thread's place to sleep. unpark() before park() is not lost.
#pragma once

#include <cstdint>

#include "base/atomic.h"
#include "base/clock.h"

namespace holdfast {

enum class ParkOutcome : std::uint8_t {
  unparked,
  timed_out,
  interrupted,  // a signal handler ran (EINTR of futex(2)); killable waits give up, others park again
};

class Parker {
 public:
  // Sleeps until unpark, the deadline, or a signal handler ran. Called by one thread at a time, outside of any epoch.
  // An unpark that came already wins over a deadline that has passed.
  ParkOutcome park(Deadline deadline);
  // Any thread. Pairs with park: what was written before unpark is seen after park returned `unparked`.
  void unpark();
  // Forgets an unpark that came before. Not while another thread parks here.
  void reset();

 private:
  // kNothing -> kParked -> kToken -> kNothing by a sleeper and its waker; kNothing -> kToken by a waker that is early.
  static constexpr std::uint32_t kNothing = 0;
  static constexpr std::uint32_t kParked = 1;
  static constexpr std::uint32_t kToken = 2;

  // Takes the token if there is one; leaves kNothing.
  bool take_token();

  Atomic<std::uint32_t> state_;
};

}  // namespace holdfast
