// The invariants of docs/invariants.md that a file system at rest can be asked for, all at once: each answer begins
// with the number of the one that is broken. For small pools: every page of the device is looked at.
#pragma once

#include <string>

#include "filesystem/core.h"

namespace holdfast::test {

// Empty: nothing is broken. No other thread uses the file system meanwhile; pins may be held.
std::string broken_invariant(filesystem::Core& core);

}  // namespace holdfast::test
