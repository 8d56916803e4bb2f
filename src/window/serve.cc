// Faults: how a touch of a page that is not there becomes a translation.
#include <algorithm>
#include <cerrno>
#include <optional>
#include <thread>

#include "base/check.h"
#include "base/mark.h"
#include "base/trace.h"
#include "device/copy.h"
#include "mapping/hold.h"
#include "window/file_windows.h"

namespace holdfast::window {
// Pages around the index that are written and follow each other on the device; empty when the index itself is not
// written.
PageRange FileWindows::written_around(const View& view, PageIndex index) const {
  if (view.grain() > PageCount(1)) {
    const PageRange grain = view.grain_around(index);
    const std::optional<FileSource::Grain> whole = source_.whole_grain(grain.first, view.grain());
    return whole && whole->written ? grain : PageRange{index, index};
  }
  const PageRange window = clip(round_out({index, index + PageCount(1)}, kPagesAround), view.pages());
  PageRange run{window.first, window.first};
  Pfn next;
  for (PageIndex at = window.first; at < window.end;) {
    const Place place = source_.place(at);
    const PageIndex end = std::min(at + place.count, window.end);
    const bool written = place.kind == Place::Kind::block && place.written;
    if (!written || (!run.empty() && place.pfn != next)) {
      if (at > index) break;
      run = {written ? at : end, written ? at : end};
    }
    if (written) {
      run.end = end;
      next = place.pfn + (end - at);
    }
    at = end;
  }
  return run.contains(index) ? run : PageRange{index, index};
}

// A page of the carrier as far as the file reaches, at least its first page: what of it can be tracked.
PageRange FileWindows::inside_file(PageRange grain) const {
  return {grain.first, std::clamp(source_.end(), grain.first + PageCount(1), grain.end)};
}

// The part of the run around the index that entries track: only that may get translations. A unit of one entry that the
// window shows whole is taken as such.
FileWindows::Shown FileWindows::tracked_around(const View& view, PageIndex index, PageRange run) const {
  const mapping::Mapping& mapping = source_.mapping();
  const Place place = source_.place(index);
  const PageRange none{index, index};
  if (place.kind != Place::Kind::block) return {none, {}, false};
  const auto tracked = [&](PageIndex at) {
    const mapping::Entry entry = mapping.lookup(at);
    // CLEAN: mark_stores comes first.
    return entry.tracks() && !(entry.clean() && view.access() == Access::write) &&
           entry.pfn() + (at - at.align_down(entry.order())) == Pfn(place.pfn.raw() + at.raw() - index.raw());
  };
  const PageRange large = view.unit_around(index);
  if (tracked(index) && mapping.lookup(index).order().pages() >= large.count()) {
    const PageRange shown = view.pieces().find(index).range;
    if (shown.first <= large.first && large.end <= shown.end) {
      const Pfn pfn = place.pfn - (index - large.first);
      return {large, pfn, device_.is_unit(pfn)};
    }
  }
  if (view.grain() > PageCount(1)) {
    // Whole or not at all. Behind the end of the file it has blocks, but nothing that could be tracked: whoever takes
    // them away takes the translation first, entries or not (FileWindows::remove_translations).
    const PageRange grain = inside_file(view.grain_around(index));
    for (PageIndex at = grain.first; at < grain.end; at += PageCount(1)) {
      if (!tracked(at)) return {none, {}, false};
    }
    return {view.grain_around(index), place.pfn - (index - grain.first), false};
  }
  if (!tracked(index)) return {none, {}, false};
  PageRange part{index, index + PageCount(1)};
  while (part.first > run.first && tracked(part.first - PageCount(1))) part.first = part.first - PageCount(1);
  while (part.end < run.end && tracked(part.end)) part.end += PageCount(1);
  return {part, place.pfn - (index - part.first), false};
}

FileWindows::Installed FileWindows::install(View& view, PageIndex index, PageRange run, PageRange& tried) {
  const Pieces::Found shown = view.pieces().find(index);
  if (shown.piece.shows == Shows::nothing) return Installed::done;
  Shown part = tracked_around(view, index, run);
  if (part.range.empty()) return Installed::changed;
  HF_MARK("window.install");
  if (!view.watches_device()) {
    part.range = clip(part.range, view.pages());
    view.must_show(part.range, {Shows::shared, part.pfn});
    return Installed::done;
  }
  const Pfn there = shown.piece.pfn + (index - shown.range.first);
  if (shown.piece.shows != Shows::shared || there != part.pfn + (index - part.range.first)) return Installed::changed;
  // A unit that is not one for the kernel: 512 translations cost more than most who touch one page want.
  if (!part.as_unit && view.grain() == PageCount(1)) {
    part.range = clip(round_out({index, index + PageCount(1)}, kPagesAround), part.range);
  }
  tried = part.range = clip(part.range, shown.range);
  switch (const int code = view.install(part.range, part.as_unit); code) {
    case 0:
      HF_TRACE2(window_install, part.range.first.raw(), part.range.end.raw());
      return Installed::done;
    case EAGAIN:
      return Installed::moving;
    case ENOENT:
      return Installed::changed;
    case EFAULT:
      return Installed::missing;
    default:  // the memory is broken
      HF_TRACE2(window_install_failed, index.raw(), code);
      return Installed::failed;
  }
}

// The carrier has no memory for a written block: it was copied as a sparse file, say. It is zeros, as a read finds
// them. The caller is inside a Hold of the range.
Status FileWindows::bring_memory(PageRange range) {
  for (PageIndex at = range.first; at < range.end; at += PageCount(1)) {
    const Place place = source_.place(at);
    if (place.kind != Place::Kind::block) continue;
    std::byte byte{};
    if (device::load(&byte, device_.at(place.pfn), 1) != device::CopyOutcome::done) {
      device_.learn_of(device::last_bus_error());
      return Error(EIO, device_.name(), fmt::format("the memory of page {:#x} cannot be read", place.pfn.raw()));
    }
  }
  return {};
}

bool FileWindows::try_serve(View& view, const Touch& touch, bool wait_for_lock) {
  if (touch.protection) return false;
  const PageIndex index = view.index_of(touch.address);
  const auto hold = mapping::Hold::try_enter(source_.mapping(), view.unit_around(index));
  if (!hold) return false;
  HF_MARK("window.try_serve");
  const PageRange run = written_around(view, index);
  if (run.empty() || !source_.try_track(run)) return false;
  if (wait_for_lock) {
    lock_.lock();
  } else if (!lock_.try_lock()) {
    return false;
  }
  PageRange tried;
  const bool done = view.watches_device() && !hold->overrun() && install(view, index, run, tried) == Installed::done;
  lock_.unlock();
  return done;
}

bool FileWindows::is_bus_error(const View& view, const std::byte* address) const {
  const MutexLock lock(lock_);
  return view.pieces().find(view.index_of(address)).piece.shows == Shows::past_end;
}

// A detach may have left a copy of a page in the middle of a large one, say. Nothing smaller can be shown.
Status FileWindows::check_grain(const View& view, PageIndex index) const {
  if (view.grain() == PageCount(1) || source_.whole_grain(view.grain_around(index).first, view.grain())) return {};
  return Error(EOPNOTSUPP, device_.name(), "the file does not lie on whole pages of the carrier there");
}

// What is made present for a touch of the page: what the carrier maps at least; where it keeps a unit that the window
// shows whole, that; else unwritten blocks around it. To write zeros to 2 MiB takes no longer than a second fault.
PageRange FileWindows::wanted_for(const View& view, PageIndex index) const {
  PageRange wanted = view.grain_around(index);
  if (view.grain() > PageCount(1)) return inside_file(wanted);
  const PageRange unit = view.unit_around(index);
  const bool shown = clip(unit, view.pages()) == unit;
  // Either the end of a raw device waits for the hold, or the source says inside it that there is no memory any more to
  // ask about. Test: RawRace.R17_RemoveMeetsTheLookAtTheUnit.
  const auto hold = mapping::Hold::try_enter(source_.mapping(), unit);
  const auto whole = shown && hold ? source_.whole_grain(unit.first, unit.count()) : std::nullopt;
  HF_MARK("window.looks_at_unit");
  const Place place = source_.place(index);
  if (whole && device_.is_unit(whole->pfn)) {
    wanted = unit;
  } else if (place.kind == Place::Kind::block) {
    const PageRange around = clip(round_out(wanted, kPagesAround), view.pages());
    wanted.end = std::min(index + place.count, around.end);
    const Place before = source_.place(around.first);
    if (before.kind == Place::Kind::block && around.first + before.count > index) wanted.first = around.first;
  }
  return {wanted.first, std::max(index + PageCount(1), std::min(wanted.end, source_.end()))};
}

// One page with a block, or that shall get one. EAGAIN: look again.
Status FileWindows::serve_block(View& view, PageIndex index, Access access) {
  const PageRange wanted = wanted_for(view, index);
  HF_TRY(source_.track(wanted, access));
  if (view.access() == Access::write) HF_TRY(source_.mark_stores(wanted));
  HF_MARK("window.tracked");
  if (source_.place(index).kind == Place::Kind::block) HF_TRY(check_grain(view, index));
  const auto hold = mapping::Hold::enter(source_.mapping(), view.unit_around(index), Deadline::never());
  if (!hold) return {};
  const PageRange run = written_around(view, index);
  if (run.empty()) return {};
  static_cast<void>(source_.try_track(run));
  Installed installed = Installed::changed;
  PageRange tried;
  {
    const MutexLock lock(lock_);
    if (hold->overrun()) return {};
    refresh_view(view, run);
    installed = install(view, index, run, tried);
    // It could not be shown (see refresh_view), or it changed.
    if (installed == Installed::changed && view.watches_device() &&
        view.pieces().find(index).piece.shows != Shows::shared) {
      return Error(ENOMEM, device_.name(), "the window cannot change");
    }
  }
  switch (installed) {
    case Installed::done:
      return {};
    case Installed::missing:
      HF_TRY(bring_memory(tried));
      break;
    case Installed::failed:
      return Error(EIO, device_.name(), "the memory cannot be shown");
    case Installed::changed:
    case Installed::moving:
      break;
  }
  return Error(EAGAIN, device_.name(), "the window is changing");
}

void FileWindows::serve_hole(View& view, PageIndex index) {
  const PageCount chunk = view.faults()->arms_untouched() ? kOrder2M.pages() : kPagesAround;
  const PageRange window = clip(round_out({index, index + PageCount(1)}, std::max(chunk, view.grain())), view.pages());
  HF_MARK("window.serve_hole");
  const MutexLock lock(lock_);
  const Pieces::Found shown = view.pieces().find(index);
  if (shown.piece.shows != Shows::absent) return view.wake({index, index + PageCount(1)});
  PageRange hole{index, index};
  for (PageIndex at = clip(window, shown.range).first; at < window.end && at < shown.range.end;) {
    const Place place = source_.place(at);
    const PageIndex end = std::min({at + place.count, window.end, shown.range.end});
    if (place.kind != Place::Kind::hole) {
      if (at > index) break;
      hole = {end, end};
    } else {
      if (hole.empty()) hole.first = at;
      hole.end = end;
    }
    at = end;
  }
  if (!hole.contains(index)) return view.wake({index, index + PageCount(1)});
  view.must_show(hole, {Shows::zeros, {}});
}

void FileWindows::refuse(View& view, PageIndex index, Place::Kind found) {
  const MutexLock lock(lock_);
  HF_TRACE1(window_refuse, index.raw());
  const bool given_up = view.pieces().find(index).piece.shows == Shows::nothing;
  if (given_up || source_.place(index).kind != found) return view.wake({index, index + PageCount(1)});
  view.must_show(view.grain_around(index), {Shows::past_end, {}});
}

void FileWindows::serve(View& view, const Touch& touch) {
  const PageIndex index = view.index_of(touch.address);
  HF_MARK("window.serve");
  for (;;) {
    const Place place = source_.place(index);
    switch (place.kind) {
      case Place::Kind::unknown:
        if (!source_.learn(index)) return refuse(view, index, place.kind);
        continue;
      case Place::Kind::past_end: {
        const MutexLock lock(lock_);
        refresh_view(view, {index, index + PageCount(1)});
        return view.wake({index, index + PageCount(1)});
      }
      case Place::Kind::lost:
        return refuse(view, index, place.kind);
      case Place::Kind::hole:
        if (!touch.write && !touch.protection) return serve_hole(view, index);
        break;
      case Place::Kind::block:
        break;
    }
    const bool stores = touch.write || touch.protection;
    const Status served = serve_block(view, index, stores ? Access::write : Access::read);
    if (served) return view.wake({index, index + PageCount(1)});
    switch (served.error().code()) {
      case EAGAIN:
        std::this_thread::yield();
        continue;
      case ENXIO:  // it shrank, or became a hole, meanwhile; a large page that has holes cannot be shown
        if (view.grain() > PageCount(1) && source_.place(index).kind == place.kind &&
            !source_.whole_grain(view.grain_around(index).first, view.grain())) {
          return refuse(view, index, place.kind);
        }
        continue;
      case EINTR:
      case ETIMEDOUT:
        continue;
      default:
        return refuse(view, index, place.kind);
    }
  }
}

}  // namespace holdfast::window
