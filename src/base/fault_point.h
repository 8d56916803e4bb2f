// Fault points: named places where a test makes the next call fail.
//
// if (HF_FAULT_POINT("device.flush")) return Error(EIO, ...);
// In release builds the condition is the constant false.
#pragma once

#include <atomic>
#include <string_view>

namespace holdfast::fault_point {

// The passing number `countdown` (1 = the next) of `name` fails, and so do the `failures - 1` after it.
void arm(std::string_view name, unsigned countdown, unsigned failures = 1);
void disarm_all();

namespace detail {
extern std::atomic<bool> any_armed;
bool fails(std::string_view name);
}  // namespace detail

}  // namespace holdfast::fault_point

#if defined(HOLDFAST_TEST_HOOKS) && HOLDFAST_TEST_HOOKS
#define HF_FAULT_POINT(name)                                                     \
  (::holdfast::fault_point::detail::any_armed.load(std::memory_order_relaxed) && \
   ::holdfast::fault_point::detail::fails(name))
#else
#define HF_FAULT_POINT(name) false
#endif
