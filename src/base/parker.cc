#include "base/parker.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "base/check.h"
#include "base/epoch.h"

namespace holdfast {
namespace {

timespec to_timespec(Nanoseconds moment) {
  const Nanoseconds clamped = std::max(moment, Nanoseconds::zero());
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(clamped);
  return {static_cast<time_t>(seconds.count()), static_cast<long>((clamped - seconds).count())};
}

// 0 or the errno of the wait. FUTEX_WAIT_BITSET takes an absolute moment on the monotonic clock.
int futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected, Deadline deadline) {
  const timespec moment = to_timespec(deadline.moment());
  const long outcome = syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected,
                               deadline.is_never() ? nullptr : &moment, nullptr, FUTEX_BITSET_MATCH_ANY);
  return outcome == 0 ? 0 : errno;
}

void futex_wake_one(std::atomic<std::uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, nullptr, nullptr, 0);
}

}  // namespace

// The state is reached through word(): unpark runs under a bucket's lock, where the test scheduler must not stop a
// thread. Its seams are run_wait here and the start of wake().

bool Parker::take_token() {
  // acquire: partner is the exchange in unpark.
  return state_.word().exchange(kNothing, std::memory_order_acquire) == kToken;
}

ParkOutcome Parker::park(Deadline deadline) {
  HF_DEBUG_CHECK(!epoch::inside(), "a thread sleeps inside an epoch, and no memory can be reclaimed meanwhile");
  if (take_token()) return ParkOutcome::unparked;
  switch (scheduler::run_wait(state_.word(), kToken, !deadline.is_never())) {
    case scheduler::WaitOutcome::token:
      static_cast<void>(take_token());
      return ParkOutcome::unparked;
    case scheduler::WaitOutcome::timed_out:
      return ParkOutcome::timed_out;
    case scheduler::WaitOutcome::not_controlled:
      break;
  }
  for (;;) {
    std::uint32_t expected = kNothing;
    if (!state_.word().compare_exchange_strong(expected, kParked, std::memory_order_relaxed)) {
      static_cast<void>(take_token());
      return ParkOutcome::unparked;
    }
    const int failure = futex_wait(state_.word(), kParked, deadline);
    if (take_token()) return ParkOutcome::unparked;
    if (failure == ETIMEDOUT) return ParkOutcome::timed_out;
    if (failure == EINTR) return ParkOutcome::interrupted;
    HF_CHECK(failure == 0 || failure == EAGAIN, "futex wait failed with errno {}", failure);
  }
}

void Parker::unpark() {
  // release: partner is take_token.
  if (state_.word().exchange(kToken, std::memory_order_release) == kParked) futex_wake_one(state_.word());
}

void Parker::reset() { state_.word().store(kNothing, std::memory_order_relaxed); }

}  // namespace holdfast
