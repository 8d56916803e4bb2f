#include "base/clock.h"

#include <ctime>

namespace holdfast {
namespace {

timespec read_clock(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return now;
}

Nanoseconds to_nanoseconds(const timespec& time) {
  return std::chrono::seconds(time.tv_sec) + Nanoseconds(time.tv_nsec);
}

}  // namespace

Nanoseconds monotonic_now() { return to_nanoseconds(read_clock(CLOCK_MONOTONIC)); }

FileTime file_time_now() {
  const timespec now = read_clock(CLOCK_REALTIME_COARSE);
  return {now.tv_sec, static_cast<std::uint32_t>(now.tv_nsec)};
}

Deadline Deadline::after(Nanoseconds duration) {
  const Nanoseconds now = monotonic_now();
  return duration >= Nanoseconds::max() - now ? Deadline() : Deadline(now + duration);
}

}  // namespace holdfast
