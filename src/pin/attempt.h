// One attempt to pin a range that is tracked: all or nothing, no lock, no wait. And the attempts that make up a pin.
#pragma once

#include <cstdint>
#include <string>

#include <holdfast/pin.h>

#include "base/units.h"
#include "pin/source.h"

namespace holdfast::pin {

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

// `taken` is empty before, and after anything but `pinned`.
AttemptResult attempt(const Target& target, std::uint64_t offset, std::uint64_t length, const PinOptions& options,
                      Pin& taken);

// The error of an attempt that is not tried again. `name`: whose bytes they are.
Error attempt_error(std::string name, Attempt outcome);

// Attempts until one succeeds: tracks what is absent, waits for breaks. Errors as attempt_error, wait_for_break and
// Source::track. No lock is held.
Result<Pin> take_slowly(Source& source, std::uint64_t offset, std::uint64_t length, const PinOptions& options);
// One attempt; EAGAIN where that one would go on.
Result<Pin> try_take_slowly(Source& source, std::uint64_t offset, std::uint64_t length, const PinOptions& options);

}  // namespace holdfast::pin
