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
  // Sleeps until unpark, the deadline, or a signal handler ran. Called by one thread at a time.
  ParkOutcome park(Deadline deadline);
  // Any thread. Pairs with park: what was written before unpark is seen after park returned `unparked`.
  void unpark();
  // Forgets an unpark that came before.
  void reset();

 private:
  Atomic<std::uint32_t> state_;
};

}  // namespace holdfast
