// Core::unmount: waits until nobody needs the file system any more, then closes it.
#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include "base/mark.h"
#include "base/wait_queue.h"
#include "filesystem/core.h"
#include "filesystem/quarantine.h"
#include "filesystem/sync.h"
#include "filesystem/worker.h"
#include "layout/break.h"
#include "layout/lease.h"
#include "pagemap/pin_table.h"

namespace holdfast::filesystem {

struct Unmounting {
  explicit Unmounting(Core& core_in, Deadline deadline_in)
      : core(core_in), deadline(deadline_in), code(deadline_in.passed() ? EBUSY : ETIMEDOUT) {}

  // Who is in the way, for people.
  Error in_the_way() const {
    constexpr std::size_t kNamed = 4;
    std::string text;
    const auto add = [&text](const std::string& what) { text += (text.empty() ? "" : ", ") + what; };
    for (const std::string& path : core.inodes().referenced(kNamed)) add("open: " + path);
    for (const pagemap::Holder& holder : pagemap::holders_of_filesystem(core.id(), kNamed)) {
      std::string path = core.inodes().known_path(InodeNumber(holder.identity.file.inode));
      if (path.empty()) path = fmt::format("inode {}", holder.identity.file.inode);
      add(fmt::format("pinned: {} bytes {} to {} by thread {} ({})", path, holder.identity.offset,
                      holder.identity.offset + holder.identity.length, holder.tid, holder.identity.purpose));
    }
    if (text.empty()) text = "still in use";
    return Error(code, core.name(), text, "close the files and release the pins, or wait longer");
  }

  Status wait_for_files() const {
    const ParkOutcome outcome = wait_until(&core.open_files(), deadline,
                                           [this] { return core.open_files().load(std::memory_order_acquire) == 0; });
    if (outcome == ParkOutcome::timed_out) return in_the_way();
    if (outcome == ParkOutcome::interrupted) return Error(EINTR, core.name(), "a signal came");
    return {};
  }

  // Pins of files that still have names.
  Status wait_for_pins() const {
    Status status;
    core.inodes().for_each([&](Inode& inode) {
      const PageRange everything{PageIndex(0), kEndOfFile};
      if (!status || !inode.mapping.first_pinned(everything)) return;
      const auto broken = layout::Break::wait(inode.mapping, everything, {OnPinned::wait, deadline});
      if (broken) return;
      const int failed = broken.error().code();
      status = failed == ETIMEDOUT ? in_the_way() : Error(failed, core.name(), broken.error().reason());
    });
    return status;
  }

  // And of those that have none.
  Status wait_for_quarantine() const {
    Quarantine& quarantine = core.quarantine();
    core.worker().serve();
    const ParkOutcome outcome = wait_until(quarantine.empty_key(), deadline, [&] { return quarantine.empty(); });
    if (outcome == ParkOutcome::timed_out) return in_the_way();
    if (outcome == ParkOutcome::interrupted) return Error(EINTR, core.name(), "a signal came");
    return {};
  }

  bool quiet() const {
    return core.open_files().load(std::memory_order_acquire) == 0 && core.quarantine().empty() &&
           pagemap::holders_of_filesystem(core.id(), 1).empty();
  }

  // Nothing enters any more: everything goes to the medium. True: closed. False: somebody was faster.
  Result<bool> close() const {
    HF_MARK("unmount.closes");
    core.unmounted_.store(true, std::memory_order_seq_cst);
    HF_MARK("unmount.closing");
    if (!quiet()) {
      core.unmounted_.store(false, std::memory_order_seq_cst);
      return false;
    }
    Status written = write_back(core);
    {
      const MutexLock turn(core.worker().turn());
      core.inodes().drop_unused();
      // Of a pin that is just being released: its inode stays, and the page is the pin's alone, lest the device is held
      // for ever. Test: Unmount.R17_APinComesBetweenTheLooks.
      core.inodes().release_tracking();
    }
    const bool clean = written && !core.failure() && core.inodes().evicting_count() == 0;
    Status closed = core.close_format(clean);
    layout::end_leases(core.id()).tell();  // of holes: what is pinned would have been waited for
    core.window_ = nullptr;
    if (core.pages().references() == 0) core.device_.reset();
    if (!written) return Error(written.error());
    if (!closed) return Error(closed.error());
    if (const std::optional<Error> failure = core.failure()) return *failure;
    return true;
  }

  Core& core;
  const Deadline deadline;
  const int code;
};

Status Core::unmount(Deadline deadline) {
  HF_TRY(usable());
  const Unmounting unmounting(*this, deadline);
  for (;;) {
    HF_TRY(unmounting.wait_for_files());
    HF_TRY(unmounting.wait_for_pins());
    HF_TRY(unmounting.wait_for_quarantine());
    HF_ASSIGN(const bool closed, unmounting.close());
    if (closed) return {};
    if (deadline.passed()) return unmounting.in_the_way();
  }
}

}  // namespace holdfast::filesystem
