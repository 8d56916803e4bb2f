#include "device/persist.h"

#include <cpuid.h>

#include <atomic>

namespace holdfast::device {
namespace {

LineFlush best_line_flush() {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return LineFlush::clflush;
  if ((ebx & bit_CLWB) != 0) return LineFlush::clwb;
  return (ebx & bit_CLFLUSHOPT) != 0 ? LineFlush::clflushopt : LineFlush::clflush;
}

// The operand of a flush: naming the first byte names the line.
volatile char& first_byte(std::uintptr_t line) { return *reinterpret_cast<volatile char*>(line); }

}  // namespace

LineFlush line_flush() {
  static const LineFlush best = best_line_flush();
  return best;
}

void flush_lines(const void* begin, std::size_t length, LineFlush instruction) {
  // The compiler must have made the stores that are to be flushed.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  switch (instruction) {
    case LineFlush::clwb:
      for_each_line(begin, length, [](std::uintptr_t line) { asm volatile("clwb %0" : "+m"(first_byte(line))); });
      break;
    case LineFlush::clflushopt:
      for_each_line(begin, length, [](std::uintptr_t line) { asm volatile("clflushopt %0" : "+m"(first_byte(line))); });
      break;
    case LineFlush::clflush:
      for_each_line(begin, length, [](std::uintptr_t line) { asm volatile("clflush %0" : "+m"(first_byte(line))); });
      break;
  }
}

void flush_lines(const void* begin, std::size_t length) { flush_lines(begin, length, line_flush()); }

void drain() { asm volatile("sfence" ::: "memory"); }

}  // namespace holdfast::device
