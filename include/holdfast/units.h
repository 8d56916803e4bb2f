// Units: how much of files can be mapped in large pages, and why the rest cannot.
#pragma once

#include <cstdint>

namespace holdfast {

// Who makes units of 2 MiB of memory that its carrier keeps in pages of 4 KiB (tmpfs without huge=, say).
enum class Units : std::uint8_t {
  make,          // the kernel is asked to, once for each, by the call that gives a file all blocks of one: 0.7 to 4 ms
  as_they_come,  // nobody; Window::populate still does
};

// Bytes by the largest unit in which they can be mapped; `in_1g` and `in_2m` exclude each other. The rest by the reason
// why it is not in units of 2 MiB.
struct UnitReport {
  std::uint64_t in_1g = 0;
  std::uint64_t in_2m = 0;
  // Of files: bytes of blocks.
  std::uint64_t file_end = 0;       // behind the last whole unit of the file
  std::uint64_t holes = 0;          // a part of the unit has no blocks
  std::uint64_t scattered = 0;      // the unit's blocks do not lie in one piece
  std::uint64_t not_congruent = 0;  // they do, but do not begin a unit of the device
  std::uint64_t carrier = 0;        // they do, but the carrier keeps them in smaller pages
  // Of windows, besides: bytes of addresses.
  std::uint64_t window_edge = 0;    // the window begins, ends or was unmapped inside the unit
  std::uint64_t small_entries = 0;  // pages are tracked one by one, since a pin, or from before the unit was whole
  std::uint64_t untouched = 0;      // nothing is mapped there yet

  // What lies in whole units of files, and so might be mapped in units.
  constexpr std::uint64_t whole_units() const { return in_1g + in_2m + holes + scattered + not_congruent + carrier; }
  constexpr UnitReport& operator+=(const UnitReport& other) {
    in_1g += other.in_1g;
    in_2m += other.in_2m;
    file_end += other.file_end;
    holes += other.holes;
    scattered += other.scattered;
    not_congruent += other.not_congruent;
    carrier += other.carrier;
    window_edge += other.window_edge;
    small_entries += other.small_entries;
    untouched += other.untouched;
    return *this;
  }
};

// What became of the wish for a unit of 2 MiB, since the mount. A refusal is nobody's error: the bytes are mapped in
// pages of 4 KiB.
struct UnitAttempts {
  std::uint64_t made = 0;
  std::uint64_t refused_busy = 0;         // EAGAIN: registered with a device, or in use by the kernel
  std::uint64_t refused_memory = 0;       // ENOMEM: no 2 MiB in one piece were free
  std::uint64_t refused_unsupported = 0;  // EOPNOTSUPP: this kernel does not; it is not asked for ever
  std::uint64_t failed = 0;               // anything else
};

struct UnitStatistics {
  UnitAttempts attempts;
  UnitReport windows;  // of all windows, as they are now
};

}  // namespace holdfast
