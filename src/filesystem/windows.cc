#include "filesystem/windows.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "device/describe.h"
#include "filesystem/allocation.h"
#include "filesystem/dirty.h"
#include "filesystem/lookup.h"
#include "filesystem/pin_track.h"
#include "filesystem/removal.h"
#include "filesystem/unit_maker.h"
#include "window/fault_server.h"
#include "window/registry.h"

namespace holdfast::filesystem {

using window::Place;

InodeWindows::InodeWindows(Inode& inode) : inode_(inode), all_(*this, inode.core.device()) {}

Place InodeWindows::place(PageIndex index) const {
  // acquire: partner is the store in grow_to and take_out.
  const std::uint64_t size = inode_.size.load(std::memory_order_acquire);
  const PageIndex end(round_up(size, inode_.core.device().geometry().page_bytes) / kPageBytes);
  if (index >= end) return {Place::Kind::past_end, false, {}, kEndOfFile - index};
  const Found found = inode_.extents.find(index);
  const PageCount count = std::min(found.count, end - index);
  switch (found.kind) {
    case Found::Kind::unknown:
      return {Place::Kind::unknown, false, {}, std::max(count, PageCount(1))};
    case Found::Kind::hole:
      return {Place::Kind::hole, false, {}, count};
    case Found::Kind::lost:
      return {Place::Kind::lost, false, {}, count};
    case Found::Kind::unwritten:
    case Found::Kind::written:
      return {Place::Kind::block, found.kind == Found::Kind::written, found.pfn, count};
  }
  __builtin_unreachable();
}

PageIndex InodeWindows::end() const {
  // acquire: as in place().
  return page_after(inode_.size.load(std::memory_order_acquire));
}

std::optional<InodeWindows::Grain> InodeWindows::whole_grain(PageIndex first, PageCount grain) const {
  const std::optional<Run> run = run_of(inode_, first, grain);
  if (!run || run->pfn.raw() % grain.raw() != 0) return std::nullopt;
  return Grain{run->pfn, run->written};
}

bool InodeWindows::try_track(PageRange range) { return try_track_held(inode_, range); }

Status InodeWindows::track(PageRange range, Access access) {
  return filesystem::track(inode_, range, access, Deadline::never(), Units::as_they_come);
}

void InodeWindows::make_unit(PageIndex first) { filesystem::make_unit(inode_, first); }

Status InodeWindows::learn(PageIndex index) {
  HF_TRY(locate_unlocked(inode_, index));
  return {};
}

Status InodeWindows::mark_stores(PageRange range) { return filesystem::mark_stores(inode_, range, Deadline::never()); }

namespace {

Status check(const OpenFile& file, const MapRequest& request) {
  const Inode& inode = *file.inode;
  HF_TRY(file.core->usable());
  const auto refused = [&inode](int code, const char* reason) { return Error(code, inode.path_hint(), reason); };
  if (inode.type != FileType::regular) return refused(EACCES, "not a regular file");
  if (!file.may_read) return refused(EBADF, "not opened for reading");
  if (request.access == Access::write) {
    HF_TRY(file.core->writable());
    if (!file.may_write) return refused(EBADF, "not opened for writing");
  }
  const device::Geometry& geometry = file.core->device().geometry();
  if (request.synchronous && !geometry.is_persistent_memory()) {
    return Error(EOPNOTSUPP, inode.path_hint(),
                 fmt::format("a {} is not persistent memory: stores are durable by sync() only",
                             device::to_string(geometry.kind)),
                 "map it without `synchronous`, and sync");
  }
  const std::uint64_t grain = geometry.page_bytes;
  if (request.length == 0) return refused(EINVAL, "an empty range");
  if (request.offset % grain != 0) {
    return Error(EINVAL, inode.path_hint(),
                 fmt::format("byte {} does not begin a page of {}", request.offset, device::describe_bytes(grain)));
  }
  if (request.offset > kFileBytesMax || request.length > round_down(kFileBytesMax, grain) - request.offset) {
    return refused(EOVERFLOW, "the range reaches past the largest size of a file");
  }
  return {};
}

// Carriers of large pages show nothing smaller: grains that have blocks get all of them, and lie whole, or the file is
// refused.
Status complete_grains(Inode& inode, PageRange pages) HF_REQUIRES(inode.lock) {
  const PageCount grain(inode.core.device().geometry().page_bytes / kPageBytes);
  const PageIndex end = std::min(pages.end, page_after(inode.attributes.size));
  bool committed = false;
  for (PageIndex at = pages.first; at < end; at += grain) {
    bool blocks = false;
    for (PageIndex page = at; page < at + grain && !blocks;) {
      HF_ASSIGN(const Found found, locate(inode, page));
      if (found.kind == Found::Kind::lost) break;  // with all of its page of the carrier: it is not shown
      blocks = found.kind != Found::Kind::hole;
      page += found.count;
    }
    if (!blocks || inode.windows->whole_grain(at, grain)) continue;
    if (!inode.core.read_only()) {
      // The rest of the page may have been the file's own until a moment ago (blocks ahead of its end): what was freed
      // can be had after a commit.
      if (!committed) HF_TRY(inode.core.format().commit());
      committed = true;
      HF_TRY(fill_holes(inode, {at, at + grain}, Ahead::no));
    }
    if (inode.windows->whole_grain(at, grain)) continue;
    return Error(EOPNOTSUPP, inode.path_hint(),
                 fmt::format("the {} from byte {} on do not lie on one page of the carrier",
                             device::describe_bytes(grain.bytes()), at.bytes()),
                 "allocate the file in whole units before it is written, or use a pool with 2 MiB clusters");
  }
  return {};
}

// Large pages show what nobody has written yet beside what somebody has, past the end of the file too: zeros, not what
// lay there before.
Status zero_unwritten(Inode& inode, PageRange pages) HF_REQUIRES(inode.lock) {
  // W3: a writer may have filled some of it before; it looks again, also where not all can be zeroed. New ones wait for
  // the lock. Partner: the loads in write.cc.
  inode.removals.fetch_add(1, std::memory_order_release);
  for (PageIndex at = pages.first; at < pages.end;) {
    HF_ASSIGN(const Found found, locate(inode, at));
    const PageIndex end = std::min(at + found.count, pages.end);
    if (found.kind == Found::Kind::unwritten) {
      HF_TRY(zero_device(inode, found.pfn, 0, (end - at).bytes()));
    }
    at = end;
  }
  return {};
}

// A new view of what the file is now. The extents are learnt first, so that it shows blocks from the start.
Result<std::shared_ptr<window::View>> add_view(Inode& inode, const window::Userfaultfd* faults, PageRange pages,
                                               Access access) {
  Core& core = inode.core;
  const MutexLock lock(inode.lock);
  const PageIndex end = std::min(pages.end, page_after(inode.attributes.size));
  for (PageIndex at = pages.first; at < end;) {
    HF_ASSIGN(const Found found, locate(inode, at));
    at += found.count;
  }
  if (!inode.windows) inode.windows = std::make_unique<InodeWindows>(inode);
  if (core.device().geometry().page_bytes > kPageBytes) {
    HF_TRY(complete_grains(inode, pages));
    if (!core.read_only()) HF_TRY(zero_unwritten(inode, pages));
  }
  return inode.windows->all().add(faults, pages, access);
}

// Without faults everything has to be there from the start: blocks, and zeros in them.
Status fill_all(Inode& inode, PageRange pages, Access access) {
  // acquire: partner is the store in grow_to and take_out.
  const std::uint64_t size = inode.size.load(std::memory_order_acquire);
  const PageRange inside{pages.first, std::min(pages.end, page_after(size))};
  if (inside.empty()) return {};
  for (PageIndex at = inside.first; at < inside.end;) {
    HF_ASSIGN(const Found found, locate_unlocked(inode, at));
    const PageIndex end = std::min(at + found.count, inside.end);
    const bool untouched = found.kind == Found::Kind::unwritten && !inode.core.read_only();
    if (untouched || (access == Access::write && found.kind != Found::Kind::lost)) {
      HF_TRY(track(inode, {at, end}, access, Deadline::never(), Units::make));
    }
    at = end;
  }
  return {};
}

// What map installs of itself: a unit where that is one translation, else what one fault would.
PageRange eager(const window::View& view, const device::Device& device, std::uint64_t size) {
  const PageIndex first = view.pages().first;
  const bool large = device.geometry().page_bytes >= kOrder2M.pages().bytes();
  const PageCount count = large ? view.grain() : window::kPagesAround;
  return {first, std::min({first + count, view.pages().end, page_after(size)})};
}

}  // namespace

Result<std::shared_ptr<window::View>> map(const std::shared_ptr<OpenFile>& file, const MapRequest& request) {
  HF_TRY(check(*file, request));
  Inode& inode = *file->inode;
  const device::Device& device = inode.core.device();
  const std::uint64_t grain = device.geometry().page_bytes;
  const PageRange pages{page_holding(request.offset), page_after(round_up(request.offset + request.length, grain))};
  // A pool that nobody writes changes nothing: it needs no faults.
  const ServeFaults serve = window::can_be_watched(device) ? request.faults : ServeFaults::thread;
  const window::Userfaultfd* faults = nullptr;
  if (!inode.core.read_only()) {
    HF_ASSIGN(faults, window::fault_service(serve));
  }
  const bool unseen = faults == nullptr && request.access == Access::write;
  if (unseen && request.synchronous) {
    return Error(EOPNOTSUPP, inode.path_hint(), "without userfaultfd a window shows blocks before they are durable",
                 "allow userfaultfd(2), or map it without `synchronous`, and sync");
  }
  if (faults == nullptr) HF_TRY(fill_all(inode, pages, request.access));
  HF_ASSIGN(std::shared_ptr<window::View> view, add_view(inode, faults, pages, request.access));
  if (unseen) note_unmarked_stores(inode);
  view->owner = file;
  window::list_view(*view);
  if (faults == nullptr) return view;
  const std::uint64_t size = inode.size.load(std::memory_order_acquire);
  const PageRange now =
      request.populate ? PageRange{pages.first, std::min(pages.end, page_after(size))} : eager(*view, device, size);
  const bool fill = request.populate && request.access == Access::write;
  if (Status there = view->file().populate(*view, now, fill); !there && request.populate) {
    window::FileWindows::end(view);
    return std::move(there).error().about(inode.path_hint());
  }
  return view;
}

PageCount shown_unit(const Inode& inode) {
  const PageCount grain(inode.core.device().geometry().page_bytes / kPageBytes);
  const bool shown = grain > PageCount(1) && inode.windows != nullptr && !inode.windows->all().empty();
  return shown ? grain : PageCount(1);
}

PageRange out_to_shown_units(const Inode& inode, PageRange range) { return round_out(range, shown_unit(inode)); }

void refresh_windows(Inode& inode, PageRange range) {
  if (__builtin_expect(inode.windows != nullptr, 0)) inode.windows->all().refresh(range);
}

Status leave_windows(Inode& inode, PageRange range) {
  if (__builtin_expect(inode.windows == nullptr, 1)) return {};
  return inode.windows->all().leave(range);
}

}  // namespace holdfast::filesystem
