// One writer or many readers: flock(2) on the open file, and who has it when it cannot be had.
//
// The lock belongs to the open file description: two opens in one process exclude each other like two processes, and
// the lock ends with the last copy of the descriptor.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "device/device.h"

namespace holdfast::device {

// Exclusive for read_write, shared for read_only. Does not wait: EBUSY names a holder. ENOTSUP where the file system
// has no locks.
Status lock_device(int fd, const std::string& path, OpenMode mode);

void unlock_device(int fd);

// The processes that hold a flock on a file, as the text of /proc/locks tells; waiting ones are left out. A process
// that the reader cannot see (another pid namespace) is not listed there.
std::vector<pid_t> flock_holders(std::string_view proc_locks, dev_t device, ino_t inode);

// "pid 41 (cp), started 2026-03-01 10:20:30", as far as /proc tells.
std::string describe_process(pid_t pid);

}  // namespace holdfast::device
