// One attempt to pin a range that is tracked: all or nothing, no lock, no wait.
#pragma once

#include <cstdint>

#include <holdfast/pin.h>

#include "base/units.h"
#include "filesystem/inode.h"

namespace holdfast::filesystem {

enum class Attempt : std::uint8_t {
  pinned,
  absent,    // a page is not tracked
  breaking,  // a break waits for the range
  full,      // a counter is full
  past_the_end,
  no_memory,
};

struct AttemptResult {
  Attempt outcome = Attempt::absent;
  PageIndex at;  // absent, breaking: where
};

// `pin` is empty before, and after anything but `pinned`.
AttemptResult attempt_pin(Inode& inode, std::uint64_t offset, std::uint64_t length, const PinOptions& options,
                          Pin& pin);

// The error of an attempt that is not tried again.
Error attempt_error(const Inode& inode, Attempt outcome);

}  // namespace holdfast::filesystem
