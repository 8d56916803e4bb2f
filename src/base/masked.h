// Kernel features that the environment asks to do without: HOLDFAST_MASK=name,name in the environment. For tests of
// what older kernels and unprivileged processes meet.
#pragma once

#include <cstdlib>
#include <string_view>

namespace holdfast {

inline bool masked(std::string_view feature) {
  const char* const mask = std::getenv("HOLDFAST_MASK");
  if (mask == nullptr) return false;
  std::string_view left(mask);
  while (!left.empty()) {
    const std::size_t comma = left.find(',');
    if (left.substr(0, comma) == feature) return true;
    if (comma == std::string_view::npos) break;
    left.remove_prefix(comma + 1);
  }
  return false;
}

}  // namespace holdfast
