// The process's list of pin tables: what registration of threads and reports of holders share.
#pragma once

#include <array>
#include <cstddef>

#include "base/mutex.h"
#include "pagemap/pin_table.h"

namespace holdfast::pagemap {

using ThreadName = std::array<char, 16>;  // as the kernel keeps it, with the 0

// A table with what only registration, adoption and reports need.
struct RegisteredTable : PinTable {
  // The following are guarded by the registry's mutex.
  ThreadName name{};
  bool ended = false;
  std::size_t missing = 0;  // once ended: slots taken and not yet seen to be returned
};

// The tables of this process.
struct PinTableRegistry {
  Mutex mutex{LockRank::pin_table};
  Atomic<PinTable*> tables;  // pushed to under the mutex, walked without it, never popped from

  static PinTableRegistry& of_process();
};

}  // namespace holdfast::pagemap
