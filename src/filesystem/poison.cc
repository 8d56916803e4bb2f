#include "filesystem/poison.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <utility>

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

// A page of the range has an entry that may be pinned through, now or once it is revived, or is about to get one from
// somebody who may not know of the loss. A small entry that is ZAP stays so: nobody makes an entry of a lost page.
// Holds before entries: see poison.h.
bool may_have_entries(Inode& inode, PageRange range) {
  if (mapping::HoldTables::any(inode.mapping, round_out(range, kOrder2M.pages()))) return true;
  for (PageIndex at = range.first; at < range.end; at += PageCount(1)) {
    const mapping::Entry entry = inode.mapping.lookup(at);
    if (entry.tracks() || (entry.has_page() && entry.order() > kOrder4K)) return true;
  }
  return false;
}

// Where the file has lost pages.
Result<std::vector<PageRange>> lost_ranges(Inode& inode) HF_REQUIRES(inode.lock) {
  std::vector<PageRange> ranges;
  // Nothing is mapped or pinned that has no entry, but by a window that no fault brings its pages.
  const bool touched = mapping::HoldTables::any(inode.mapping, kWholeFile) ||  // before entries: see poison.h
                       inode.mapping.entry_pages() != PageCount(0);
  if (inode.windows == nullptr && !touched) return ranges;
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
  Status done = flush_beside(inode, commit->range(), range);  // of a unit, the pages beside
  if (done) {
    commit->remove_entries();
    done = track_pinned(inode, *commit, {});
  }
  refresh_windows(inode, commit->range());
  return done ? Result<bool>(true) : Result<bool>(std::move(done).error());
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
    if (!may_have_entries(inode, range)) continue;
    HF_ASSIGN(const bool taken, take_entries(inode, range));
    all = all && taken;
  }
  return all;
}

// What may succeed another time.
bool passes(const Error& error) {
  const int code = error.code();
  return code == EINTR || code == ENOMEM || code == EAGAIN || code == ENODEV;
}

// Whether nothing is left to be done. Worker's turn: no inode ends, and the pool does not close meanwhile.
bool withdraw_from_files(Core& core) HF_REQUIRES(core.worker().turn()) {
  bool all = true;
  core.inodes().for_each([&](Inode& inode) {
    const Result<bool> withdrawn = withdraw_from(inode);
    if (withdrawn) {
      all = all && *withdrawn;
    } else if (passes(withdrawn.error())) {
      all = false;
    } else {
      core.note_failure(withdrawn.error());
    }
  });
  return all;
}

// Looks a last time when all is done: an inode that was about to leave memory is passed over, and may have stayed.
class Withdrawal final : public Pending {
 public:
  explicit Withdrawal(Core& core, Deadline first) : core_(core), next_(first) {}

  Progress advance(Parker&) override {
    if (!next_.passed()) return Progress::waiting;
    next_ = Deadline::after(kRetryInterval);
    const MutexLock turn(core_.worker().turn());
    if (!core_.is_usable()) return Progress::waiting;  // an unmount, which may find somebody in its way
    if (Status avoided = core_.format().avoid_lost(); !avoided) core_.note_failure(avoided.error());
    const bool all = withdraw_from_files(core_);
    return all && std::exchange(was_done_, all) ? Progress::done : Progress::waiting;
  }
  Deadline deadline() const override { return next_; }

 private:
  Core& core_;
  Deadline next_;
  bool was_done_ = false;
};

}  // namespace

Status lose(Core& core, std::uint64_t offset, std::uint64_t length) {
  HF_TRY(core.usable());
  const std::uint64_t size = core.device().geometry().size;
  if (length == 0 || offset >= size || length > size - offset) {
    return Error(EINVAL, core.name(), fmt::format("bytes {}+{} do not lie inside of {} bytes", offset, length, size));
  }
  const PageRange pages = pages_touched(offset, length);
  Status avoided;
  bool all = false;
  {
    const MutexLock turn(core.worker().turn());
    HF_TRY(core.usable());
    core.device().lose(Pfn(pages.first.raw()), pages.count());
    avoided = core.format().avoid_lost();
    all = withdraw_from_files(core);
  }
  HF_MARK("poison.told");
  Status later = core.worker().add(std::make_unique<Withdrawal>(core, Deadline::after(kRetryInterval)));
  if (!avoided) return avoided;
  return all ? Status() : std::move(later);
}

namespace {

// Of pages that are on no list, in runs of one state.
Status add_unlisted(Core& core, PageRun run, std::vector<BadRange>& found) {
  for (Pfn at = run.first; at < run.end(); at += PageCount(1)) {
    HF_ASSIGN(const bool free, core.format().block_free(at));
    const BadState state = free ? BadState::withheld : BadState::in_use;
    if (at > run.first && found.back().state == state) {
      found.back().length += kPageBytes;
    } else {
      found.push_back({at.bytes(), kPageBytes, state});
    }
  }
  return {};
}

}  // namespace

Result<std::vector<BadRange>> bad_ranges(Core& core) {
  HF_TRY(core.usable());
  device::PoisonList list;
  HF_TRY(core.format().bad_blocks([&list](Pfn first, PageCount count) { list.add({first, count}); }));
  const std::vector<PageRun> retired = list.all();
  std::vector<BadRange> found;
  found.reserve(retired.size());
  for (const PageRun& run : retired) found.push_back({run.first.bytes(), run.count.bytes(), BadState::retired});
  for (const PageRun& run : core.device().poison().all()) {
    Pfn at = run.first;
    for (const PageRun& known : retired) {
      if (known.end() <= at || run.end() <= known.first) continue;
      if (at < known.first) HF_TRY(add_unlisted(core, {at, known.first - at}, found));
      at = std::max(at, known.end());
    }
    if (at < run.end()) HF_TRY(add_unlisted(core, {at, run.end() - at}, found));
  }
  std::sort(found.begin(), found.end(), [](const BadRange& a, const BadRange& b) { return a.offset < b.offset; });
  return found;
}

void listen_for_losses(Core& core) {
  // Without a thread for it a lost page is refused all the same.
  core.device().listen([&core] {
    static_cast<void>(core.worker().add(std::make_unique<Withdrawal>(core, Deadline::at(Nanoseconds(0)))));
  });
}

bool learn_of_lost_memory(Core& core) noexcept { return core.device().learn_of(device::last_bus_error()); }

Error memory_lost(const Inode& inode, std::uint64_t offset, int code) {
  return Error(code, inode.path_hint(), fmt::format("the memory of byte {} is lost", offset),
               "copy what can be read, and punch a hole there or remove the file");
}

Error memory_failed(const Inode& inode, std::uint64_t offset, const char* done) {
  if (inode.extents.find(page_holding(offset)).kind == Found::Kind::lost) return memory_lost(inode, offset, EIO);
  return Error(EIO, inode.path_hint(), fmt::format("the memory at byte {} cannot be {}", offset, done));
}

}  // namespace holdfast::filesystem
