// The windows of one file.
//
// What a window shows follows what the file is, in both directions of change:
//   - blocks that leave: leave() before the blocks can be given to anyone, inside the closed gate of their range;
//   - blocks and bytes that come: refresh() after the file system knows them, before its operation returns.
// Either/or of a fault and a change: a fault looks at the file (FileSource::place) and changes the window under one
// holding of `lock`; a change publishes and then refreshes under it. So either the fault sees the change, or the
// refresh sees what the fault did. Test: WindowRace.HoleReadMeetsFill.
//
// Either/or of a fault and a break: translations are installed inside a Hold of the unit, under `lock`, unless the hold
// is overrun. A gate closes only when the holds are gone, or they are overrun, and zap() takes `lock`. So either the
// translation is there when the zap comes, or the fault sees that it was overrun. Test: WindowRace.FaultMeetsBreak.
//
// A touch that finds what it was told of repaired already only has to be woken.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "base/units.h"
#include "device/device.h"
#include "mapping/mapping.h"
#include "window/source.h"
#include "window/view.h"

namespace holdfast::window {

// Served with the page that was touched: on 4 KiB memory a fault costs 2 us and a page 80 ns.
inline constexpr PageCount kPagesAround{16};

class FileWindows final : public mapping::TranslationRemover {
 public:
  // Tells the mapping to remove translations here. `source` outlives it.
  FileWindows(FileSource& source, device::Device& device);
  ~FileWindows();
  FileWindows(const FileWindows&) = delete;
  FileWindows& operator=(const FileWindows&) = delete;

  // A new window of the pages, which shows what the file is now and is not yet known to any server of faults. ENOMEM.
  Result<std::shared_ptr<View>> add(const Userfaultfd* faults, PageRange pages, Access access);
  // After close(). The addresses go with the last pointer.
  void remove(const View& view);
  // The end of a window that is listed: waits for faults in service (bounded). Its owner may end here, on this thread.
  static void end(const std::shared_ptr<View>& view);
  bool empty() const;
  // Whether system calls wait for absent pages of every one.
  bool calls_wait() const;
  // Whether one of them lets stores through where no fault tells of them.
  bool stores_unseen() const;

  // Makes the windows show what the file is now. Blocks that came replace zeros; ends that moved move. What fails
  // (ENOMEM) stays as it was where that is safe: a page that reads as zeros must not hide a block.
  void refresh(PageRange range);
  // The range is about to leave the file: nothing of it is shown when this returns. ENOMEM: nothing may leave.
  Status leave(PageRange range);
  void remove_translations(PageRange range) override;
  // What the windows show is gone for good: all of it is a bus error when this returns, whatever limit is near. The
  // source says `past_end` of every page before, so that nobody shows anything afterwards.
  void show_the_end();
  // The program gives a part of its window up: whole grains.
  Status give_up(View& view, PageRange range);
  // The pages at the front of the range that it has not given up. Takes no lock while it has given up none.
  PageRange kept(const View& view, PageRange range) const;

  // How each 2 MiB of the file that a window shows, in whole or in part, is shown there now.
  enum class ShownUnit : std::uint8_t {
    edge,           // in part only
    untouched,      // no entry: nothing is mapped
    small_entries,  // its pages are tracked one by one
    of_blocks,      // whole, as far as its blocks and the carrier allow
  };
  using UnitVisitor = std::function<void(PageIndex first, std::uint64_t bytes, ShownUnit shown)>;
  void each_unit(const UnitVisitor& visit) const;

  // --- faults ---
  // Serves a touch without waiting for anybody; but for the windows' lock, where `wait_for_lock` (never the reader of
  // touches: who holds the lock may wait for it). False: serve() has to, on a thread that may wait.
  bool try_serve(View& view, const Touch& touch, bool wait_for_lock);
  // Whether a bus error is all that the window shows there.
  bool is_bus_error(const View& view, const std::byte* address) const;
  // Serves a touch; allocates, and waits for gates. What cannot be served becomes a bus error.
  void serve(View& view, const Touch& touch);
  // Tracks and installs what is there of the range, a hole where `fill`; for map and populate. Errors as
  // FileSource::track.
  Status populate(View& view, PageRange range, bool fill);

 private:
  enum class Installed : std::uint8_t { done, changed, moving, missing, failed };
  struct Wanted {
    PageRange range;
    Piece piece;
  };
  struct Shown {
    PageRange range;
    Pfn pfn;  // of range.first
    bool as_unit = false;
  };

  Wanted wanted(const View& view, PageRange range) const;
  PageRange wanted_for(const View& view, PageIndex index) const;
  ShownUnit shown_unit(const View& view, PageRange unit) const;
  Wanted wanted_grains(const View& view, PageRange range) const;
  void refresh_view(View& view, PageRange range) HF_REQUIRES(lock_);
  Status leave_view(View& view, PageRange range) HF_REQUIRES(lock_);
  PageRange written_around(const View& view, PageIndex index) const;
  Shown tracked_around(const View& view, PageIndex index, PageRange run) const HF_REQUIRES(lock_);
  // The caller is inside a Hold of the unit that is not overrun. `missing`: somewhere in what was tried.
  Installed install(View& view, PageIndex index, PageRange run, PageRange& tried) HF_REQUIRES(lock_);
  PageRange inside_file(PageRange grain) const;
  bool may_lose_translations() const;
  Status bring_memory(PageRange range);
  // Installs from `at` on until something has changed, or the carrier has no memory for the pages that it answers.
  Result<PageRange> populate_part(View& view, PageIndex& at, PageIndex end) HF_REQUIRES(lock_);
  Status check_grain(const View& view, PageIndex index) const;
  Status serve_block(View& view, PageIndex index, Access access);
  void serve_hole(View& view, PageIndex index);
  // Unless the file has become another there than the `found` that could not be served.
  void refuse(View& view, PageIndex index, Place::Kind found);

  FileSource& source_;
  device::Device& device_;
  mutable Mutex lock_{LockRank::windows};
  std::vector<View*> views_ HF_GUARDED_BY(lock_);
};

}  // namespace holdfast::window
