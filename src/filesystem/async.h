// Truncate and punch for callers that do not wait: the worker carries the break through.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include <holdfast/types.h>

#include "base/clock.h"
#include "base/result.h"
#include "filesystem/core.h"

namespace holdfast::filesystem {

using Done = std::function<void(Status)>;

// The break begins now: it stands in the order of breaks where this call does. Afterwards, on the worker's thread, 1 is
// added to `event_fd` where that is >= 0, then done(status) is called, once, with no lock held. An error that is known
// at once is returned, and `done` is not called; EAGAIN: no thread for it. The file stays open until then and is let go
// before anybody is told.
Status truncate_async(const std::shared_ptr<OpenFile>& file, std::uint64_t size, OnPinned on_pinned, Deadline deadline,
                      Done done, int event_fd);
Status punch_async(const std::shared_ptr<OpenFile>& file, std::uint64_t offset, std::uint64_t length,
                   OnPinned on_pinned, Deadline deadline, Done done, int event_fd);

// Adds 1 to `event_fd` once nothing is in quarantine; at once when nothing is. EBADF, EINVAL (not an eventfd).
Status drain(Core& core, int event_fd);

}  // namespace holdfast::filesystem
