// Bringing a range before it is touched.
#include <algorithm>
#include <cerrno>

#include "mapping/hold.h"
#include "window/file_windows.h"

namespace holdfast::window {

Result<PageRange> FileWindows::populate_part(View& view, PageIndex& at, PageIndex end) {
  while (at < end) {
    const PageRange part{at, end};
    const Pieces::Found shown = view.pieces().find(at);
    if (shown.piece.shows == Shows::nothing) {
      at = std::min(shown.range.end, end);
      continue;
    }
    if (shown.piece.shows == Shows::past_end) return Error(ENOMEM, device_.name(), "the window cannot change");
    HF_TRY(check_grain(view, at));
    const Shown run = tracked_around(view, at, clip(part, shown.range));
    if (run.range.empty()) break;  // changed: from the top
    if (!view.watches_device()) {
      view.must_show(run.range, {Shows::shared, run.pfn});
    } else if (shown.piece.shows != Shows::shared) {
      break;
    } else if (const int code = view.install(clip(run.range, shown.range), run.as_unit); code == EFAULT) {
      return run.range;
    } else if (code == EAGAIN) {
      break;
    } else if (code != 0) {
      return Error(code, device_.name(), "translations cannot be made");
    }
    at = run.range.end;
  }
  return PageRange{at, at};
}

bool FileWindows::may_lose_translations() const {
  if (calls_wait()) return true;
  const MutexLock lock(lock_);
  return views_.size() == 1;
}

Status FileWindows::populate(View& view, PageRange range, bool fill) {
  range = clip(round_out(range, view.grain()), view.pages());
  for (PageIndex at = range.first; at < range.end;) {
    Place place = source_.place(at);
    if (place.kind == Place::Kind::unknown) {
      HF_TRY(source_.learn(at));
      continue;
    }
    const PageIndex end = source_.end();
    if (place.kind == Place::Kind::past_end || at >= end) break;
    const PageRange unit = clip(clip(view.unit_around(at), range), {at, end});
    // A large page is shown when all of it is tracked, though it is written in part only.
    const PageRange part = clip(round_out({at, fill ? end : at + place.count}, view.grain()), unit);
    if (place.kind == Place::Kind::hole && !fill) {
      at = part.end;
      continue;
    }
    if (Status tracked = source_.track(part, fill ? Access::write : Access::read); !tracked) {
      const Place now = source_.place(at);
      const bool changed = source_.end() < part.end || now.kind != place.kind || now.count < place.count;
      if (tracked.error().code() == ENXIO && changed) continue;  // cut short, or punched
      return tracked;
    }
    if (view.access() == Access::write) HF_TRY(source_.mark_stores(part));
    // What is made a unit loses its translations everywhere. This window gets them back at once; another one's may be
    // what a system call relies on.
    const bool whole = at == at.align_down(kOrder2M) && unit.count() == kOrder2M.pages();
    if (whole && may_lose_translations()) source_.make_unit(at);
    const auto hold = mapping::Hold::enter(source_.mapping(), view.unit_around(at), Deadline::never());
    if (!hold) continue;
    PageRange missing;
    {
      const MutexLock lock(lock_);
      if (hold->overrun()) continue;
      refresh_view(view, part);
      HF_ASSIGN(missing, populate_part(view, at, part.end));
    }
    HF_TRY(bring_memory(missing));
  }
  return {};
}

}  // namespace holdfast::window
