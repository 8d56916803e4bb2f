// Write-back of CPU caches to persistent memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace holdfast::device {

// In order of preference: clwb keeps the line cached, clflushopt drops it, clflush also waits for the one before.
enum class LineFlush : std::uint8_t { clflush, clflushopt, clwb };

// The best that this CPU has (cpuid leaf 7).
LineFlush line_flush();

inline constexpr std::size_t kLineBytes = 64;

// Calls visit(address) with the first byte of every cache line that holds a byte of the range, in order.
template <typename Visit>
void for_each_line(const void* begin, std::size_t length, Visit visit) {
  if (length == 0) return;
  const auto first = reinterpret_cast<std::uintptr_t>(begin);
  const std::uintptr_t end = first + length;
  for (std::uintptr_t line = first & ~(kLineBytes - 1); line < end; line += kLineBytes) visit(line);
}

// Starts the write-back of every cache line that holds a byte of the range.
void flush_lines(const void* begin, std::size_t length);
void flush_lines(const void* begin, std::size_t length, LineFlush instruction);

// Returns when this thread's flush_lines and its stores have reached the persistence domain (sfence).
void drain();

}  // namespace holdfast::device
