// e2fsck as a second judge.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <holdfast/error.h>

namespace holdfast::cli {

struct E2fsckVerdict {
  int exit_code = 0;               // its own, a sum of bits: 0 clean, 4 errors, others: it could not judge
  std::vector<std::string> lines;  // what it said
};

// Runs `e2fsck -fn` on the pool, which changes nothing. Nothing: it is not installed.
Result<std::optional<E2fsckVerdict>> ask_e2fsck(const std::string& pool);

}  // namespace holdfast::cli
