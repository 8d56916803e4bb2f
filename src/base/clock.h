// Clocks and deadlines. Monotonic time is nanoseconds since boot; file times are nanoseconds since 1970.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <ctime>

namespace holdfast {

using Nanoseconds = std::chrono::nanoseconds;

// Monotonic, exact (about 20 ns a call).
Nanoseconds monotonic_now();
// Monotonic, at the kernel's tick (about 4 ms coarse, 4 ns a call): good enough to say how old a pin is.
inline Nanoseconds monotonic_coarse_now() {
  timespec now;  // NOLINT: filled at once
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return Nanoseconds(now.tv_sec * std::int64_t{1'000'000'000} + now.tv_nsec);
}

struct FileTime {
  std::int64_t seconds = 0;
  std::uint32_t nanoseconds = 0;
  auto operator<=>(const FileTime&) const = default;
};

// Wall clock at the kernel's tick, as file systems stamp inodes (current_time() in the kernel's fs/inode.c).
FileTime file_time_now();

// A moment on the monotonic clock, or never.
class Deadline {
 public:
  constexpr Deadline() = default;  // never
  static Deadline after(Nanoseconds duration);
  static constexpr Deadline at(Nanoseconds moment) { return Deadline(moment); }
  static constexpr Deadline never() { return {}; }

  constexpr bool is_never() const { return moment_ == Nanoseconds::max(); }
  constexpr Nanoseconds moment() const { return moment_; }
  bool passed() const { return !is_never() && monotonic_now() >= moment_; }
  constexpr auto operator<=>(const Deadline&) const = default;

 private:
  constexpr explicit Deadline(Nanoseconds moment) : moment_(moment) {}
  Nanoseconds moment_ = Nanoseconds::max();
};

}  // namespace holdfast
