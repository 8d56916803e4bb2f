#include "base/lock_rank.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/mutex.h"

namespace holdfast {

const char* to_string(LockRank rank) {
  static constexpr std::array kNames = {"filesystem",   "rename",      "inode",       "handle",     "format",
                                        "allocator",    "block_cache", "break_list",  "windows",    "tree",
                                        "extent_cache", "pin_table",   "inode_table", "quarantine", "poison",
                                        "wait_bucket",  "epoch",       "leaf"};
  return kNames.at(static_cast<std::size_t>(rank));
}

#if defined(HOLDFAST_DEBUG_CHECKS) && HOLDFAST_DEBUG_CHECKS
namespace lock_order {
namespace {

struct Held {
  const void* mutex;
  LockRank rank;
};

struct HeldLocks {
  std::array<Held, 16> locks{};
  std::size_t count = 0;
};

thread_local HeldLocks held_locks;

}  // namespace

void acquiring(const void* mutex, LockRank rank, bool same_rank_allowed) {
  HeldLocks& mine = held_locks;
  for (std::size_t i = 0; i < mine.count; ++i) {
    const Held& held = mine.locks.at(i);
    HF_CHECK(held.mutex != mutex, "lock {} ({}) is taken twice by one thread", mutex, to_string(rank));
    HF_CHECK(held.rank < rank || (same_rank_allowed && held.rank == rank), "lock rank {} taken after {}",
             to_string(rank), to_string(held.rank));
  }
  HF_CHECK(mine.count < mine.locks.size(), "more than {} locks held by one thread", mine.locks.size());
  mine.locks.at(mine.count++) = {mutex, rank};
}

void released(const void* mutex) {
  HeldLocks& mine = held_locks;
  for (std::size_t i = mine.count; i-- > 0;) {
    if (mine.locks.at(i).mutex != mutex) continue;
    for (std::size_t j = i + 1; j < mine.count; ++j) mine.locks.at(j - 1) = mine.locks.at(j);
    --mine.count;
    return;
  }
  HF_CHECK(false, "lock {} released by a thread that does not hold it", mutex);
}

bool held(LockRank rank) {
  const HeldLocks& mine = held_locks;
  return std::any_of(mine.locks.begin(), mine.locks.begin() + static_cast<std::ptrdiff_t>(mine.count),
                     [rank](const Held& lock) { return lock.rank == rank; });
}

}  // namespace lock_order
#endif

}  // namespace holdfast
