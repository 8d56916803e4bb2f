// A new pin meets a break that waits for its range.
#pragma once

#include <string>

#include <holdfast/pin.h>

#include "base/clock.h"
#include "base/result.h"
#include "base/units.h"
#include "mapping/mapping.h"

namespace holdfast::pin {

// Sleeps until no break and no closed gate overlaps the range. The caller holds nothing of it. `name`: whose bytes they
// are. EAGAIN (on_break is fail; names the break), EDEADLK (this thread holds a pin of the file, for which the break
// may be waiting), ETIMEDOUT, EINTR.
Status wait_for_break(const mapping::Mapping& mapping, std::string name, PageRange range, const PinOptions& options,
                      Deadline deadline);

}  // namespace holdfast::pin
