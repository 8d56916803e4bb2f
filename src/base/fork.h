// What a forked child has to know: that it is one.
//
// A child shares no device with its parent. Objects that it inherited are inert: they may be destroyed, and releasing
// through them does nothing. They compare the generation in which they were made with the current one.
#pragma once

#include <atomic>
#include <cstdint>

namespace holdfast {

namespace detail {
[[gnu::visibility("hidden")]] extern constinit std::atomic<std::uint32_t> generation;
}

// 0 until the first fork; one more in each forked child.
inline std::uint32_t fork_generation() noexcept { return detail::generation.load(std::memory_order_relaxed); }

// `forget` runs in every forked child, on its only thread, before fork() returns there. It may allocate; it must not
// lock anything that another thread may have held. Never unregistered.
void on_fork_in_child(void (*forget)());

}  // namespace holdfast
