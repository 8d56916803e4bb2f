// One window: a range of this process's addresses that shows a range of a file. What stands where is changed here, and
// only by replacing a part in one step: what was there and its translations end as what comes begins, and no part is
// ever a mapping that the kernel would fill by itself. (One step, as long as it succeeds: mremap(2) takes away what was
// there before it moves; where the kernel then has no memory, a gap is left, and a touch of it is SIGSEGV.)
//
// Everything but use() needs the lock of the file's windows (FileWindows), where the views are listed.
//
// Ends in two steps: close() makes it known that no fault is served any more and waits for those in service; then the
// addresses go. Either/or: a server counts itself in, then reads `closing`; close() sets `closing`, then reads the
// count; all four sequentially consistent. Test: ViewLife.ServersAndCloseSeeEachOther.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <holdfast/types.h>

#include "base/fork.h"
#include "base/result.h"
#include "base/units.h"
#include "device/bus_error.h"
#include "device/device.h"
#include "window/owner.h"
#include "window/pieces.h"
#include "window/userfaultfd.h"

namespace holdfast::window {

class FileWindows;

// Whether userfaultfd can tell of touches of the device's memory.
bool can_be_watched(const device::Device& device);

class View : public std::enable_shared_from_this<View> {
 public:
  // Reserves the addresses; shows nothing yet. `faults`: nullptr where there is no userfaultfd. ENOMEM,
  // EMFILE, ENFILE.
  static Result<std::shared_ptr<View>> create(FileWindows& file, device::Device& device, const Userfaultfd* faults,
                                              PageRange pages, Access access);
  ~View();
  View(const View&) = delete;
  View& operator=(const View&) = delete;

  // What keeps the file alive while the window is listed; for those who found the view there.
  std::shared_ptr<Owner> owner;

  FileWindows& file() const { return file_; }
  Access access() const { return access_; }
  PageRange pages() const { return pieces_.all(); }
  // Of the file, those that hold bytes of [offset, offset + length) of the window.
  PageRange pages_of(std::uint64_t offset, std::uint64_t length) const {
    const PageRange touched = pages_touched(offset, length);
    const PageCount first(pages().first.raw());
    return {touched.first + first, touched.end + first};
  }
  std::byte* begin() const { return begin_; }
  std::size_t length() const { return pages().count().bytes(); }
  std::byte* address(PageIndex index) const { return begin_ + (index - pages().first).bytes(); }
  PageIndex index_of(const std::byte* address) const {
    return pages().first + PageCount(static_cast<std::uint64_t>(address - begin_) / kPageBytes);
  }
  // Of the process that forked this one: the addresses are not there.
  bool inherited() const { return generation_ != fork_generation(); }
  // Whether touches of device memory are told; elsewhere it is shown only where every page is tracked.
  bool watches_device() const { return watches_device_; }
  const Userfaultfd* faults() const { return faults_; }
  bool served_in_thread() const { return faults_ != nullptr && faults_->source() == FaultSource::in_thread; }
  // The smallest part that can be changed: 4 KiB, or the carrier's page.
  PageCount grain() const { return grain_; }
  PageRange grain_around(PageIndex index) const { return round_out({index, index + PageCount(1)}, grain_); }
  // What one Hold covers: the 2 MiB around a page, or the carrier's larger page.
  PageRange unit_around(PageIndex index) const {
    return round_out({index, index + PageCount(1)}, std::max(grain_, kOrder2M.pages()));
  }

  const Pieces& pieces() const { return pieces_; }
  // What shows device memory of the range, out to whole grains.
  std::vector<PageRange> shared_parts(PageRange range) const;
  // What stands where nothing is shown yet, or any more.
  Piece nothing_yet() const { return {faults_ != nullptr ? Shows::absent : Shows::zeros, {}}; }
  // Makes the range, whole grains, show something else. ENOMEM: the limit of mappings, or of memory; then it shows what
  // it did, or in part already the new, or has a gap (see above).
  Status show(PageRange range, Piece piece);
  // The same without regard to the limit that show() keeps, out of the reserve of mappings; what cannot be shown even
  // so becomes a bus error, in whole pieces.
  void must_show(PageRange range, Piece piece);
  // Removes translations. What is shown stays, but for device memory that is not watched: that becomes `absent`.
  // Without faults it does nothing: there the windows of blocks that leave are replaced before the blocks go.
  void zap(PageRange range);
  // Installs translations of [range), which is shown as `shared` and tracked. An errno value or 0, as Userfaultfd.
  int install(PageRange range, bool as_unit);
  // Lets those who wait for a page of the range try again.
  void wake(PageRange range) const;
  // From now on the addresses may be in use: changes are made aside and moved in.
  void publish() { published_ = true; }
  // Parts of it show nothing any more. relaxed: who asks of a part that another thread gives up at this moment gets
  // either answer.
  void note_given_up() { gave_up_part_.store(true, std::memory_order_relaxed); }
  bool gave_up_part() const { return gave_up_part_.load(std::memory_order_relaxed); }

  // A server's stay, within the life of its shared pointer. `granted` is false once the view is closing.
  class Use {
   public:
    explicit Use(View& view);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    bool granted() const { return granted_; }

   private:
    View& view_;
    bool granted_;
  };
  // Waits for those in service (bounded: they wait for a gate at most).
  void close();
  // After that: the addresses stay taken as long as somebody has the view, but show no memory that is the file's.
  void show_nothing();

 private:
  View(FileWindows& file, device::Device& device, const Userfaultfd* faults, PageRange pages, Access access,
       std::byte* begin, PageCount grain);
  void remove_translations(PageRange range);
  void note(PageRange range, Piece piece);
  int put(PageRange range, Piece piece);
  int put_shared(std::byte* at, std::size_t length, Pfn pfn);
  int put_anonymous(std::byte* at, std::size_t length, Shows shows);
  template <typename Prepare>
  int move_in(std::byte* at, std::size_t length, Prepare prepare);
  int protection() const;

  FileWindows& file_;
  device::Device& device_;
  const Userfaultfd* const faults_;
  const Access access_;
  const bool watches_device_;
  const PageCount grain_;
  std::byte* const begin_;
  const std::uint32_t generation_;
  Pieces pieces_;
  bool published_ = false;
  std::atomic<bool> gave_up_part_{false};
  const device::BusErrorRange bus_errors_;
  std::atomic<std::uint32_t> users_{0};
  std::atomic<bool> closing_{false};
};

// The mappings that all views need, and the most they may (the kernel's limit, less what a program needs itself).
std::size_t mappings_in_use();
std::size_t mappings_limit();

}  // namespace holdfast::window
