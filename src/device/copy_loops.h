// The copy loops and what a signal handler must know of them. Implemented per architecture (copy_x86_64.cc).
//
// Each loop returns 0, or 1 when it was made to land at its family's `_failed` label. A fault address inside
// [first loop, failed label) belongs to that family.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {
int hf_copy_avx(void* to, const void* from, std::size_t length);
int hf_zero_avx(void* to, std::size_t length);
void hf_avx_loops_failed();

int hf_copy_string(void* to, const void* from, std::size_t length);
int hf_zero_string(void* to, std::size_t length);
void hf_string_loops_failed();
}

namespace holdfast::device {

// Where a thread that faulted at `instruction` goes on, or 0 when the instruction is not one of the loops'.
inline std::uintptr_t copy_loop_landing(std::uintptr_t instruction) {
  const auto address = [](auto* function) { return reinterpret_cast<std::uintptr_t>(function); };
  if (instruction >= address(hf_copy_avx) && instruction < address(hf_avx_loops_failed)) {
    return address(hf_avx_loops_failed);
  }
  if (instruction >= address(hf_copy_string) && instruction < address(hf_string_loops_failed)) {
    return address(hf_string_loops_failed);
  }
  return 0;
}

}  // namespace holdfast::device
