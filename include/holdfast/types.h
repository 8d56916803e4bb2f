// Sizes and small enumerations of the public interface.
#pragma once

#include <cstdint>

namespace holdfast {

inline constexpr std::uint64_t KiB = 1024;
inline constexpr std::uint64_t MiB = 1024 * KiB;
inline constexpr std::uint64_t GiB = 1024 * MiB;
inline constexpr std::uint64_t TiB = 1024 * GiB;

// The unit in which a carrier hands out memory, and so the largest unit its pages can be mapped in.
enum class PageSize : std::uint8_t { base_4k, huge_2m, huge_1g };

// What a pin lets its holder (a device, another thread) do with the bytes.
enum class Access : std::uint8_t { read, write };

// What an operation that frees blocks does when someone has pinned them.
enum class OnPinned : std::uint8_t {
  wait,    // until the pins are gone or the deadline passes (ETIMEDOUT)
  fail,    // EBUSY at once, naming the holders; ETIMEDOUT where a copy or another break lasts beyond the deadline
  detach,  // the file changes now; the pinned blocks wait in quarantine for their last unpin
};

// Why the holder of a layout lease is asked for it back.
enum class RecallReason : std::uint8_t {
  write,  // blocks come into the range, or unwritten ones begin to show bytes; none leaves
  unmap,  // blocks are about to leave the file: truncate, punch, zero_range
  final,  // the file has ended; its blocks wait in quarantine for the holder's pins
};

// What a new pin does when a truncate or punch is waiting for its range.
enum class OnBreak : std::uint8_t {
  wait,  // until the break has ended or the pin's own deadline passes
  fail,  // EAGAIN at once
};

// Which thread serves the touch of a window's page that is not there.
enum class ServeFaults : std::uint8_t {
  thread,     // one of the library's
  in_thread,  // the one that touches, inside its SIGBUS: quicker where cores sleep; see Faults::in_thread
};

}  // namespace holdfast
