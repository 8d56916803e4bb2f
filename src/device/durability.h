// How stores to a device become durable, where a carrier needs more than the processor's own instructions: a file on a
// disk (write_back.h), and what stands in for a carrier in tests (src/sim).
#pragma once

#include <cstdint>

#include "base/result.h"

namespace holdfast::device {

// Any thread may call any function at any time.
class Durability {
 public:
  virtual ~Durability() = default;

  // Starts making the range durable, or notes that it is to be.
  virtual void flush(std::uint64_t offset, std::uint64_t length) = 0;
  // Returns when every range flushed by this thread before is durable.
  virtual Status fence() = 0;
};

}  // namespace holdfast::device
