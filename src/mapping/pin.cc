// Pinning many pages at once: leaf by leaf, each verified from the root.
#include <algorithm>
#include <array>

#include "base/check.h"
#include "mapping/mapping.h"

namespace holdfast::mapping {
namespace {

using PinOutcome = Mapping::PinOutcome;

PinOutcome outcome_of(pagemap::TakeOutcome taken) {
  switch (taken) {
    case pagemap::TakeOutcome::taken:
      return PinOutcome::pinned;
    case pagemap::TakeOutcome::untracked:
      return PinOutcome::absent;
    case pagemap::TakeOutcome::breaking:
      return PinOutcome::breaking;
    case pagemap::TakeOutcome::full:
      return PinOutcome::full;
  }
  __builtin_unreachable();
}

// What one call has counted so far: the runs from `begin` on. Undone whole unless kept.
class Batch {
 public:
  Batch(const pagemap::PageMap& pages, std::vector<PinnedRun>& runs)
      : pages_(pages), runs_(runs), begin_(runs.size()) {}
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;
  ~Batch() {
    if (kept_) return;
    for (std::size_t i = begin_; i < runs_.size(); ++i) unpin(pages_, runs_[i]);
    runs_.resize(begin_);
  }

  void add(Pfn first, Order order) {
    if (runs_.size() > begin_) {
      PinnedRun& last = runs_.back();
      if (last.order == order && last.first + last.pages() == first) {
        ++last.units;
        return;
      }
    }
    runs_.push_back({first, 1, order});
  }
  void keep() { kept_ = true; }

 private:
  const pagemap::PageMap& pages_;
  std::vector<PinnedRun>& runs_;
  const std::size_t begin_;
  bool kept_ = false;
};

}  // namespace

Mapping::PinResult Mapping::try_pin(PageRange range, std::vector<PinnedRun>& runs, Access access) const {
  const epoch::Guard guard;
  Batch batch(pages_, runs);
  std::array<Entry, XArray::kRun> seen;
  std::array<Entry, XArray::kRun> now;
  for (PageIndex index = range.first; index < range.end;) {
    const auto wanted = static_cast<unsigned>(std::min<std::uint64_t>(
        range.end - index < PageCount(XArray::kRun) ? (range.end - index).raw() : XArray::kRun, XArray::kRun));
    const unsigned count = entries_.load_run(index, wanted, seen);
    for (unsigned i = 0; i < count; ++i) {
      const Entry entry = seen[i] = seen[i].without_lock();
      if (!entry.tracks()) return {PinOutcome::absent, index + PageCount(i)};
      if (entry.refuses_stores() && access == Access::write) {
        return {entry.shared() ? PinOutcome::shared : PinOutcome::absent, index + PageCount(i)};
      }
      const pagemap::TakeOutcome taken = pages_.try_pin(entry.pfn(), entry.order());
      if (taken != pagemap::TakeOutcome::taken) return {outcome_of(taken), index + PageCount(i)};
      batch.add(entry.pfn(), entry.order());
    }
    HF_MARK("mapping.pin.batch_counted");
    // The either/or of try_pin_unit, for all counts of this leaf.
    const unsigned still = entries_.load_run(index, count, now);
    for (unsigned i = 0; i < count; ++i) {
      if (i >= still || now[i].without_lock() != seen[i]) return {PinOutcome::absent, index + PageCount(i)};
    }
    const Order order = seen[0].order();  // a larger entry comes alone
    index = order == kOrder4K ? index + PageCount(count) : index.align_down(order) + order.pages();
  }
  batch.keep();
  HF_TRACE3(pin, range.first.raw(), range.count().raw(), 0);
  return {PinOutcome::pinned, range.first};
}

}  // namespace holdfast::mapping
