// Memory of a device that is lost: a load of it would be a machine check, and what was stored there is gone.
//
// Known are ranges that somebody told of, and those where a copy of ours met a machine check. What is lost stays so for
// as long as the device is open: a page is never taken for good again because one access to it went well.
//
// Asking is lock-free, in a signal handler too, and costs one load where nothing is lost.
//
// Invariant L1: the ranges of a snapshot are sorted, disjoint and not adjacent, and each snapshot covers the one
// before.
#pragma once

#include <optional>
#include <vector>

#include "base/atomic.h"
#include "base/mutex.h"
#include "base/units.h"

namespace holdfast::device {

struct PageRun {
  Pfn first;
  PageCount count;

  Pfn end() const { return first + count; }
  bool operator==(const PageRun&) const = default;
};

class PoisonList {
 public:
  PoisonList() = default;
  ~PoisonList();
  PoisonList(const PoisonList&) = delete;
  PoisonList& operator=(const PoisonList&) = delete;

  // False: all of it was known.
  bool add(PageRun run);
  // seq_cst, as first_in: see filesystem/poison.h. Partner: the store in add.
  bool any() const { return snapshot_.load(std::memory_order_seq_cst) != nullptr; }
  // What is lost of the run, as far as it is in one piece; the first such piece.
  std::optional<PageRun> first_in(PageRun run) const;
  std::vector<PageRun> all() const;

 private:
  using Snapshot = std::vector<PageRun>;

  Mutex lock_{LockRank::poison};
  Atomic<Snapshot*> snapshot_;  // nothing in it changes once it is published
};

}  // namespace holdfast::device
