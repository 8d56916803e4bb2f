// Memory of ours that bytes pass through between the caller's memory and a file. Per thread, made at its first use: it
// is hot, and too large for a stack. Whoever uses it calls nobody who does.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "base/units.h"

namespace holdfast::filesystem {

inline constexpr std::size_t kThreadBufferBytes = 64 * KiB;

inline std::span<std::byte, kThreadBufferBytes> thread_buffer() {
  thread_local const std::unique_ptr<std::byte[]> buffer(new std::byte[kThreadBufferBytes]);
  return std::span<std::byte, kThreadBufferBytes>(buffer.get(), kThreadBufferBytes);
}

}  // namespace holdfast::filesystem
