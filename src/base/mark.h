// Test marks: named places in protocol code where a test can stop a thread, and whose passing a test can count.
//
// HF_MARK("pin.counted") costs one relaxed load in builds with HOLDFAST_TEST_HOOKS and nothing in release builds.
// Every mark names, in tests/, at least one test that stops or counts there.
#pragma once

#include <atomic>

namespace holdfast::mark {

// Called on the thread that reaches a mark. May block. `name` is a string literal.
using Handler = void (*)(void* context, const char* name);

// Installs the process's handler, or none (nullptr). Thread-safe; the caller keeps `context` alive until replaced and
// until every thread inside the handler has left it.
void set_handler(Handler handler, void* context);

namespace detail {
extern std::atomic<bool> armed;
void reached(const char* name);
}  // namespace detail

}  // namespace holdfast::mark

#if defined(HOLDFAST_TEST_HOOKS) && HOLDFAST_TEST_HOOKS
#define HF_MARK(name)                                                      \
  do {                                                                     \
    if (::holdfast::mark::detail::armed.load(std::memory_order_relaxed)) { \
      ::holdfast::mark::detail::reached(name);                             \
    }                                                                      \
  } while (false)
#else
#define HF_MARK(name) static_cast<void>(0)
#endif
