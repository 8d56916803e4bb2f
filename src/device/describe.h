// Words for people: how a failed system call and a size read in an error message.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <cstring>
#include <string>

#include "base/result.h"
#include "base/units.h"

namespace holdfast::device {

inline const char* describe_errno(int code) {
  const char* text = strerrordesc_np(code);
  return text != nullptr ? text : "unknown error";
}

// "cannot map 2 MiB: Cannot allocate memory"
inline Error failed(int code, const std::string& object, const std::string& what, std::string remedy = {}) {
  return {code, object, fmt::format("{}: {}", what, describe_errno(code)), std::move(remedy)};
}

// In the largest unit that divides it: "4 KiB", "1025 MiB", "17 bytes".
inline std::string describe_bytes(std::uint64_t bytes) {
  if (bytes != 0 && bytes % GiB == 0) return fmt::format("{} GiB", bytes / GiB);
  if (bytes != 0 && bytes % MiB == 0) return fmt::format("{} MiB", bytes / MiB);
  if (bytes != 0 && bytes % KiB == 0) return fmt::format("{} KiB", bytes / KiB);
  return fmt::format("{} bytes", bytes);
}

}  // namespace holdfast::device
