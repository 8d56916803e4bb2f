#include "device/poison.h"

#include <algorithm>

#include "base/epoch.h"

namespace holdfast::device {
namespace {

// The first range that ends behind `pfn`.
std::vector<PageRun>::const_iterator first_behind(const std::vector<PageRun>& runs, Pfn pfn) {
  return std::upper_bound(runs.begin(), runs.end(), pfn, [](Pfn at, const PageRun& run) { return at < run.end(); });
}

}  // namespace

PoisonList::~PoisonList() { delete snapshot_.load(std::memory_order_acquire); }  // partner: add, on whatever thread

bool PoisonList::add(PageRun run) {
  if (run.count == PageCount(0)) return false;
  const MutexLock lock(lock_);
  Snapshot* const old = snapshot_.load(std::memory_order_relaxed);
  const Snapshot before = old != nullptr ? *old : Snapshot();
  const auto holder = first_behind(before, run.first);
  if (holder != before.end() && holder->first <= run.first && run.end() <= holder->end()) return false;
  auto* const after = new Snapshot;
  for (const PageRun& known : before) {
    if (known.end() < run.first || run.end() < known.first) {
      after->push_back(known);
      continue;
    }
    const Pfn end = std::max(run.end(), known.end());
    run.first = std::min(run.first, known.first);
    run.count = end - run.first;
  }
  after->insert(first_behind(*after, run.first), run);
  // seq_cst: who publishes a loss looks for those who may have missed it. Partners: the loads of readers.
  snapshot_.store(after, std::memory_order_seq_cst);
  if (old != nullptr) epoch::retire(old);
  return true;
}

std::optional<PageRun> PoisonList::first_in(PageRun run) const {
  const epoch::Guard guard;
  // seq_cst: partner is the store in add.
  const Snapshot* const now = snapshot_.load(std::memory_order_seq_cst);
  if (now == nullptr || run.count == PageCount(0)) return std::nullopt;
  const auto lost = first_behind(*now, run.first);
  if (lost == now->end() || run.end() <= lost->first) return std::nullopt;
  const Pfn first = std::max(run.first, lost->first);
  return PageRun{first, std::min(run.end(), lost->end()) - first};
}

std::vector<PageRun> PoisonList::all() const {
  const epoch::Guard guard;
  const Snapshot* const now = snapshot_.load(std::memory_order_seq_cst);  // partner: as in first_in
  return now != nullptr ? *now : Snapshot();
}

}  // namespace holdfast::device
