#include "window/file_windows.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/mark.h"
#include "base/trace.h"
#include "mapping/hold.h"
#include "window/registry.h"

namespace holdfast::window {
FileWindows::FileWindows(FileSource& source, device::Device& device) : source_(source), device_(device) {
  source_.mapping().set_translation_remover(this);
}

FileWindows::~FileWindows() { HF_CHECK(views_.empty(), "a file with windows ends"); }

Result<std::shared_ptr<View>> FileWindows::add(const Userfaultfd* faults, PageRange pages, Access access) {
  HF_ASSIGN(std::shared_ptr<View> view, View::create(*this, device_, faults, pages, access));
  const MutexLock lock(lock_);
  // Before publish(): nobody can touch it, so it is laid out in place.
  Status laid_out;
  for (PageIndex at = pages.first; at < pages.end && laid_out;) {
    const auto [part, piece] = wanted(*view, {at, pages.end});
    laid_out = view->show(part, piece);
    at = part.end;
  }
  if (!laid_out) return std::move(laid_out).error();
  view->publish();
  views_.push_back(view.get());
  return view;
}

void FileWindows::remove(const View& view) {
  const MutexLock lock(lock_);
  views_.erase(std::remove(views_.begin(), views_.end(), &view), views_.end());
}

void FileWindows::end(const std::shared_ptr<View>& view) {
  unlist_view(*view);
  view->close();
  view->file().remove(*view);
  view->show_nothing();
  // Nobody finds the view any more, so nobody reads `owner`.
  view->owner.reset();
}

bool FileWindows::empty() const {
  const MutexLock lock(lock_);
  return views_.empty();
}

bool FileWindows::calls_wait() const {
  const MutexLock lock(lock_);
  return std::all_of(views_.begin(), views_.end(), [](const View* view) {
    return view->faults() != nullptr && view->faults()->source() == FaultSource::full;
  });
}

bool FileWindows::stores_unseen() const {
  const MutexLock lock(lock_);
  return std::any_of(views_.begin(), views_.end(),
                     [](const View* view) { return view->faults() == nullptr && view->access() == Access::write; });
}

// The same where the carrier's pages are large: whole ones are shown, others are not.
FileWindows::Wanted FileWindows::wanted_grains(const View& view, PageRange range) const {
  const PageCount grain = view.grain();
  const std::optional<FileSource::Grain> first = source_.whole_grain(range.first, grain);
  const bool shown = first && (view.watches_device() || view.faults() == nullptr);
  if (!shown) return {{range.first, range.first + grain}, view.nothing_yet()};
  PageRange part{range.first, range.first + grain};
  while (part.end < range.end && source_.place(part.end).kind == Place::Kind::block) {
    const std::optional<FileSource::Grain> next = source_.whole_grain(part.end, grain);
    if (!next || next->pfn != first->pfn + part.count()) break;
    part.end += grain;
  }
  return {part, {Shows::shared, first->pfn}};
}

// What the beginning of the range ought to show, and how much of it is alike.
FileWindows::Wanted FileWindows::wanted(const View& view, PageRange range) const {
  const Place place = source_.place(range.first);
  if (place.kind == Place::Kind::lost) {
    const PageCount count = view.grain() > PageCount(1) ? view.grain() : place.count;
    return {{range.first, std::min(range.first + count, range.end)}, {Shows::past_end, {}}};
  }
  if (view.grain() > PageCount(1) && place.kind != Place::Kind::past_end) return wanted_grains(view, range);
  const PageRange part{range.first, std::min(range.first + place.count, range.end)};
  switch (place.kind) {
    case Place::Kind::past_end:
      return {part, {Shows::past_end, {}}};
    case Place::Kind::block:
      if (view.watches_device() || (view.faults() == nullptr && place.written)) {
        return {part, {Shows::shared, place.pfn}};
      }
      break;
    case Place::Kind::lost:
    case Place::Kind::hole:
    case Place::Kind::unknown:
      break;
  }
  return {part, view.nothing_yet()};
}

void FileWindows::refresh_view(View& view, PageRange range) {
  range = clip(round_out(range, view.grain()), view.pages());
  while (!range.empty()) {
    const auto [part, piece] = wanted(view, range);
    const bool hole = source_.place(part.first).kind == Place::Kind::hole;
    std::vector<std::pair<PageRange, Piece>> changes;
    view.pieces().each(part, [&, part = part, piece = piece](const Pieces::Found& now) {
      Piece then = piece;
      if (then.shows == Shows::shared) then.pfn += now.range.first - part.first;
      if (now.piece == then || now.piece.shows == Shows::nothing) return;
      if (then.shows == Shows::absent) {
        // Zeros are what a hole shows, once it was read. Memory that is shown only where it is tracked stays as long as
        // it is the file's.
        if (now.piece.shows == Shows::zeros && hole) return;
        const Place place = source_.place(now.range.first);
        const bool same = now.piece.shows == Shows::shared && place.kind == Place::Kind::block &&
                          place.pfn == now.piece.pfn && place.count >= now.range.count();
        if (same) return;
      }
      changes.emplace_back(now.range, then);
    });
    for (const auto& [where, what] : changes) {
      // What is absent may stay so: the next touch tries again.
      const bool may_stay = view.pieces().find(where.first).piece.shows == Shows::absent;
      if (!may_stay) {
        view.must_show(where, what);
      } else if (const Status shown = view.show(where, what); !shown) {
        HF_TRACE1(window_stays_absent, where.first.raw());
      }
    }
    range.first = part.end;
  }
}

void FileWindows::refresh(PageRange range) {
  const MutexLock lock(lock_);
  for (View* const view : views_) refresh_view(*view, range);
}

Status FileWindows::leave_view(View& view, PageRange range) {
  for (const PageRange part : view.shared_parts(range)) HF_TRY(view.show(part, view.nothing_yet()));
  return {};
}

Status FileWindows::leave(PageRange range) {
  const MutexLock lock(lock_);
  for (View* const view : views_) {
    Status left = leave_view(*view, range);
    if (left) continue;
    for (View* const again : views_) refresh_view(*again, range);
    return left;
  }
  HF_MARK("window.left");
  return {};
}

void FileWindows::show_the_end() {
  const MutexLock lock(lock_);
  for (View* const view : views_) {
    std::vector<PageRange> shown;
    view->pieces().each(view->pages(), [&shown](const Pieces::Found& part) {
      if (part.piece.shows == Shows::nothing || part.piece.shows == Shows::past_end) return;
      if (shown.empty() || shown.back().end != part.range.first) {
        shown.push_back(part.range);
      } else {
        shown.back().end = part.range.end;
      }
    });
    for (const PageRange part : shown) view->must_show(part, {Shows::past_end, {}});
  }
}

void FileWindows::remove_translations(PageRange range) {
  const MutexLock lock(lock_);
  for (View* const view : views_) view->zap(range);
}

Status FileWindows::give_up(View& view, PageRange range) {
  const MutexLock lock(lock_);
  view.note_given_up();
  return view.show(range, {Shows::nothing, {}});
}

PageRange FileWindows::kept(const View& view, PageRange range) const {
  if (!view.gave_up_part()) [[likely]] {
    return range;
  }
  const MutexLock lock(lock_);
  PageIndex end = range.end;
  view.pieces().each(range, [&end](const Pieces::Found& part) {
    if (part.piece.shows == Shows::nothing) end = std::min(end, part.range.first);
  });
  return {range.first, end};
}

void FileWindows::each_unit(const UnitVisitor& visit) const {
  std::vector<std::shared_ptr<const View>> views;
  {
    const MutexLock lock(lock_);
    for (View* const view : views_) views.push_back(view->shared_from_this());
  }
  for (const auto& view : views) {
    const PageIndex end = std::min(view->pages().end, source_.end());
    for (PageIndex first = view->pages().first.align_down(kOrder2M); first < end; first += kOrder2M.pages()) {
      const PageRange unit{first, first + kOrder2M.pages()};
      const PageRange part = clip(unit, {view->pages().first, end});
      const MutexLock lock(lock_);  // for each unit: faults wait for it
      visit(first, part.count().bytes(), shown_unit(*view, unit));
    }
  }
}

FileWindows::ShownUnit FileWindows::shown_unit(const View& view, PageRange unit) const {
  const bool file_ends = source_.end() < unit.end;
  if (clip(unit, view.pages()) != unit && !file_ends) return ShownUnit::edge;
  bool given_up = false;
  view.pieces().each(unit, [&given_up](const Pieces::Found& found) {
    if (found.piece.shows == Shows::nothing) given_up = true;
  });
  if (given_up) return ShownUnit::edge;
  const std::optional<mapping::Entry> entry = source_.mapping().first_tracking(unit);
  if (!entry) return ShownUnit::untouched;
  if (entry->order() >= kOrder2M) return ShownUnit::of_blocks;
  return source_.whole_grain(unit.first, kOrder2M.pages()) ? ShownUnit::small_entries : ShownUnit::of_blocks;
}

}  // namespace holdfast::window
