// The hazard, shown: a device transfer is in flight into file A, A is truncated, and file B gets the next blocks. The
// same transfer and the same operations in every arm; only what stands between truncate and the allocator differs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <holdfast/error.h>

namespace holdfast::cli {

struct DemoArm {
  std::string name;               // "no page counting", "wait", "fail", "detach"
  std::uint64_t overwritten = 0;  // bytes of B that the late transfer changed
  std::uint64_t transferred = 0;
  std::vector<std::string> steps = {};  // what happened, in order
};

// All arms, in order. Deterministic; needs io_uring and no privilege. About a second.
Result<std::vector<DemoArm>> run_demo();

}  // namespace holdfast::cli
