// What a long run is asked for: HOLDFAST_SECONDS, HOLDFAST_SEED and others.
#pragma once

#include <cstdint>
#include <cstdlib>

namespace holdfast::test {

inline std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

}  // namespace holdfast::test
