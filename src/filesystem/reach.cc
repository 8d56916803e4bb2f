#include "filesystem/reach.h"

#include <algorithm>

#include "base/mark.h"
#include "filesystem/core.h"
#include "filesystem/inode.h"
#include "filesystem/record.h"

namespace holdfast::filesystem {
namespace {

// What has to be committed, told to the format.
struct Waiting {
  std::uint64_t changes = 0;
  std::uint64_t commit = 0;
};

Result<Waiting> tell(Inode& inode) HF_REQUIRES(inode.lock) {
  Reach& reach = inode.reach;
  const std::uint64_t changes = reach.changes.load(std::memory_order_relaxed);
  if (!reach.recorded) {
    HF_TRY(record_locked(inode));
    note_recorded(inode);
  }
  return Waiting{changes, reach.in_commit};
}

Status commit(Inode& inode, const Waiting& waiting) {
  Format& format = inode.core.format();
  if (format.committed() < waiting.commit) {
    HF_MARK("reach.commits");
    HF_TRY(format.commit());
  }
  std::uint64_t known = inode.reach.durable.load(std::memory_order_relaxed);
  // release: partner is the load in reaches_durably.
  while (known < waiting.changes &&
         !inode.reach.durable.compare_exchange_weak(known, waiting.changes, std::memory_order_release)) {
  }
  return {};
}

}  // namespace

void note_reach(Inode& inode) {
  if (!inode.core.stores_are_durable()) return;
  inode.lock.assert_held();
  inode.reach.recorded = false;
  // seq_cst: see reach.h.
  inode.reach.changes.fetch_add(1, std::memory_order_seq_cst);
}

void note_recorded(Inode& inode) {
  if (!inode.core.stores_are_durable()) return;
  inode.lock.assert_held();
  inode.reach.recorded = true;
  inode.reach.in_commit = inode.core.format().next_commit();
}

bool reaches_durably(const Inode& inode) {
  if (!inode.core.stores_are_durable()) [[likely]] {
    return true;
  }
  // seq_cst: see reach.h. acquire: partner is the exchange in commit.
  const std::uint64_t changes = inode.reach.changes.load(std::memory_order_seq_cst);
  return inode.reach.durable.load(std::memory_order_acquire) >= changes;
}

Status make_reach_durable_locked(Inode& inode) {
  inode.lock.assert_held();
  HF_ASSIGN(const Waiting waiting, tell(inode));
  return commit(inode, waiting);
}

Status make_reach_durable(Inode& inode) {
  Waiting waiting;
  {
    const MutexLock lock(inode.lock);
    HF_ASSIGN(waiting, tell(inode));
  }
  return commit(inode, waiting);
}

}  // namespace holdfast::filesystem
