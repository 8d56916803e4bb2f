#include "base/fork.h"

#include <pthread.h>

#include "base/check.h"

namespace holdfast {

namespace detail {
constinit std::atomic<std::uint32_t> generation{0};
}

namespace {

// Registered when the library is loaded, so that the generation counts every fork that can have inherited an object.
[[maybe_unused]] const bool counting = [] {
  on_fork_in_child([] { detail::generation.fetch_add(1, std::memory_order_relaxed); });
  return true;
}();

}  // namespace

void on_fork_in_child(void (*forget)()) {
  const int failure = pthread_atfork(nullptr, nullptr, forget);
  HF_CHECK(failure == 0, "no room for a fork handler (errno {})", failure);
}

}  // namespace holdfast
