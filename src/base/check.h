// Checks. A broken invariant stops the process with its name and values; it is never an error to return.
//
// HF_CHECK is always on. HF_DEBUG_CHECK costs nothing in release builds. One condition each; the text names the
// invariant ("P3: tracked never wraps") and its values.
#pragma once

#include <fmt/format.h>

namespace holdfast {

[[noreturn]] void check_failed(const char* file, int line, const char* condition, const std::string& text);

}  // namespace holdfast

#define HF_CHECK(condition, ...)                                                               \
  do {                                                                                         \
    if (__builtin_expect(!(condition), 0)) {                                                   \
      ::holdfast::check_failed(__FILE__, __LINE__, #condition, ::fmt::format("" __VA_ARGS__)); \
    }                                                                                          \
  } while (false)

#if defined(HOLDFAST_DEBUG_CHECKS) && HOLDFAST_DEBUG_CHECKS
#define HF_DEBUG_CHECK(condition, ...) HF_CHECK(condition, __VA_ARGS__)
#else
#define HF_DEBUG_CHECK(condition, ...)           \
  do {                                           \
    if (false) HF_CHECK(condition, __VA_ARGS__); \
  } while (false)
#endif
