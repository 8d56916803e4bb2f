// A new pin meets a break that waits for its range.
#pragma once

#include <holdfast/pin.h>

#include "base/clock.h"
#include "base/units.h"
#include "filesystem/inode.h"

namespace holdfast::filesystem {

// Sleeps until no break and no closed gate overlaps the range. The caller holds nothing of it.
// EAGAIN (on_break is fail; names the break), EDEADLK (this thread holds a pin of the file, for which the break may be
// waiting), ETIMEDOUT, EINTR.
Status wait_for_break(Inode& inode, PageRange range, const PinOptions& options, Deadline deadline);

}  // namespace holdfast::filesystem
