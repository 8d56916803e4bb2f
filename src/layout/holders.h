// Who is in the way of a break, in words.
#pragma once

#include <string>

#include "base/result.h"
#include "base/units.h"
#include "mapping/mapping.h"

namespace holdfast::layout {

// An error about pins and leases of the range: `code`, and a reason that begins with `what` and names a handful of the
// holders by purpose, pid, age and bytes, and of leases whether they were asked back and are overdue. Pins through
// another file that shares the blocks cannot be named: the reason says that such are left.
Error in_the_way(int code, const mapping::Mapping& mapping, PageRange range, const std::string& what);

// Whether waiting for the pins of the range would never end, because the calling thread took all of them and nobody
// else releases them.
bool waits_for_itself(const mapping::Mapping& mapping, PageRange range);

}  // namespace holdfast::layout
