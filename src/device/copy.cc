#include "device/copy.h"

#include "device/copy_loops.h"
#include "device/sanitizer.h"

namespace holdfast::device {

namespace {

CopyOutcome copy_untold(void* to, const void* from, std::size_t length) {
  const int failed = __builtin_cpu_supports("avx") ? hf_copy_avx(to, from, length) : hf_copy_string(to, from, length);
  return failed == 0 ? CopyOutcome::done : CopyOutcome::bus_error;
}

}  // namespace

CopyOutcome copy(void* to, const void* from, std::size_t length) noexcept {
  sanitizer::reads(from, length);
  sanitizer::writes(to, length);
  return copy_untold(to, from, length);
}

CopyOutcome store(void* page, const void* from, std::size_t length) noexcept {
  sanitizer::reads(from, length);
  return copy_untold(page, from, length);
}

CopyOutcome load(void* to, const void* page, std::size_t length) noexcept {
  sanitizer::writes(to, length);
  return copy_untold(to, page, length);
}

CopyOutcome zero(void* to, std::size_t length) noexcept {
  sanitizer::writes(to, length);
  const int failed = __builtin_cpu_supports("avx") ? hf_zero_avx(to, length) : hf_zero_string(to, length);
  return failed == 0 ? CopyOutcome::done : CopyOutcome::bus_error;
}

}  // namespace holdfast::device
