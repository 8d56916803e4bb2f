#include "filesystem/poison.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>

#include "base/mark.h"
#include "device/copy.h"
#include "filesystem/core.h"
#include "filesystem/dirty.h"
#include "filesystem/quarantine_move.h"
#include "filesystem/windows.h"
#include "filesystem/worker.h"
#include "layout/break.h"
#include "mapping/hold.h"

namespace holdfast::filesystem {
namespace {

using device::PageRun;

constexpr Nanoseconds kRetryInterval = std::chrono::seconds(1);

// The range has an entry, or gets one now by somebody who may not know of the loss. Holds before entries: see poison.h.
bool may_have_entries(Inode& inode, PageRange range) {
  return mapping::HoldTables::any(inode.mapping, range) || inode.mapping.first_tracking(range).has_value();
}

// Where the file has lost pages.
Result<std::vector<PageRange>> lost_ranges(Inode& inode) HF_REQUIRES(inode.lock) {
  std::vector<PageRange> ranges;
  // Nothing is mapped or pinned that has no entry, but by a window that no fault brings its pages.
  if (inode.windows == nullptr && !may_have_entries(inode, {PageIndex(0), kEndOfFile})) return ranges;
  std::vector<Extent> extents;
  HF_TRY(inode.core.format().extents(inode.number, {PageIndex(0), kEndOfFile}, extents));
  const device::PoisonList& poison = inode.core.device().poison();
  for (const Extent& extent : extents) {
    PageRun rest{extent.pfn, extent.count};
    while (const std::optional<PageRun> lost = poison.first_in(rest)) {
      const PageIndex first = extent.index + (lost->first - extent.pfn);
      ranges.push_back({first, first + lost->count});
      rest = {lost->end(), rest.end() - lost->end()};
    }
  }
  return ranges;
}

// False: another break of the range goes on, which may wait for pins. A later try finds it gone.
Result<bool> take_entries(Inode& inode, PageRange range) {
  Parker parker;
  layout::Break broken = layout::Break::begin(inode.mapping, range, {OnPinned::detach, Deadline::never()});
  HF_ASSIGN(const layout::Break::Progress progress, broken.advance(parker));
  if (progress == layout::Break::Progress::waiting) return false;
  HF_MARK("poison.takes_entries");
  const MutexLock lock(inode.lock);
  std::optional<layout::Commit> commit = broken.commit();
  if (!commit) return false;
  // Of a unit, the pages beside.
  HF_TRY(flush_beside(inode, commit->range(), range));
  commit->remove_entries();
  Status tracked = track_pinned(inode, *commit, {});
  refresh_windows(inode, commit->range());
  return tracked ? Result<bool>(true) : Result<bool>(std::move(tracked).error());
}

Result<bool> withdraw_from(Inode& inode) {
  if (inode.type != FileType::regular) return true;
  std::vector<PageRange> ranges;
  {
    const MutexLock lock(inode.lock);
    HF_ASSIGN(ranges, lost_ranges(inode));
    for (const PageRange& range : ranges) refresh_windows(inode, range);
  }
  bool all = true;
  for (const PageRange& range : ranges) {
    if (!may_have_entries(inode, round_out(range, kOrder2M.pages()))) continue;
    HF_ASSIGN(const bool taken, take_entries(inode, range));
    all = all && taken;
  }
  return all;
}

// Whether nothing is left to be done.
bool withdraw_from_files(Core& core) {
  bool all = true;
  core.inodes().for_each([&](Inode& inode) {
    const Result<bool> withdrawn = withdraw_from(inode);
    if (!withdrawn) core.note_failure(withdrawn.error());
    all = all && (!withdrawn || *withdrawn);
  });
  return all;
}

Status avoid_all(Core& core) {
  if (core.read_only()) return {};
  Status avoided;
  for (const PageRun& run : core.device().poison().all()) {
    Status one = core.format().avoid(run.first, run.count);
    if (!one && avoided) avoided = std::move(one);
  }
  return avoided;
}

class Withdrawal final : public Pending {
 public:
  explicit Withdrawal(Core& core) : core_(core) {}

  Progress advance(Parker&) override {
    if (!next_.passed()) return Progress::waiting;
    if (!core_.is_usable()) return Progress::done;
    if (Status avoided = avoid_all(core_); !avoided) core_.note_failure(avoided.error());
    if (withdraw_from_files(core_)) return Progress::done;
    next_ = Deadline::after(kRetryInterval);
    return Progress::waiting;
  }
  Deadline deadline() const override { return next_; }

 private:
  Core& core_;
  Deadline next_ = Deadline::at(Nanoseconds(0));
};

}  // namespace

Status lose(Core& core, std::uint64_t offset, std::uint64_t length) {
  HF_TRY(core.usable());
  const std::uint64_t size = core.device().geometry().size;
  if (length == 0 || offset >= size || length > size - offset) {
    return Error(EINVAL, core.name(), fmt::format("bytes {}+{} do not lie inside of {} bytes", offset, length, size));
  }
  const PageRange pages = pages_touched(offset, length);
  core.device().lose(Pfn(pages.first.raw()), pages.count());
  Status avoided = avoid_all(core);
  if (!withdraw_from_files(core)) HF_TRY(core.worker().add(std::make_unique<Withdrawal>(core)));
  return avoided;
}

Result<std::vector<BadRange>> bad_ranges(Core& core) {
  HF_TRY(core.usable());
  device::PoisonList list;
  HF_TRY(core.format().bad_blocks([&list](Pfn first, PageCount count) { list.add({first, count}); }));
  const std::vector<PageRun> retired = list.all();
  std::vector<BadRange> found;
  for (const PageRun& run : retired) found.push_back({run.first.bytes(), run.count.bytes(), true});
  for (const PageRun& run : core.device().poison().all()) {
    // The part of it that is not retired.
    Pfn at = run.first;
    for (const PageRun& known : retired) {
      if (known.end() <= at || run.end() <= known.first) continue;
      if (at < known.first) found.push_back({at.bytes(), (known.first - at).bytes(), false});
      at = std::max(at, known.end());
    }
    if (at < run.end()) found.push_back({at.bytes(), (run.end() - at).bytes(), false});
  }
  std::sort(found.begin(), found.end(), [](const BadRange& a, const BadRange& b) { return a.offset < b.offset; });
  return found;
}

bool learn_of_lost_memory(Core& core) noexcept {
  if (!core.device().learn_of(device::last_bus_error())) return false;
  // Without a thread for it the page is refused all the same.
  static_cast<void>(core.worker().add(std::make_unique<Withdrawal>(core)));
  return true;
}

Error memory_lost(const Inode& inode, std::uint64_t offset, int code) {
  return Error(code, inode.path_hint(), fmt::format("the memory of byte {} is lost", offset),
               "copy what can be read, and punch a hole there or remove the file");
}

}  // namespace holdfast::filesystem
