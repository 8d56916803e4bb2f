#include "filesystem/core.h"

#include <atomic>
#include <cerrno>
#include <utility>

#include "base/check.h"
#include "base/epoch.h"
#include "base/mark.h"
#include "base/trace.h"
#include "filesystem/commit_timer.h"
#include "filesystem/evict.h"
#include "filesystem/poison.h"
#include "filesystem/quarantine.h"
#include "filesystem/record.h"
#include "filesystem/unit_maker.h"
#include "filesystem/worker.h"
#include "pin/report.h"

namespace holdfast::filesystem {

// Who hears that the last page reference is gone.
struct Core::Keeper final : pagemap::DeviceKeeper {
  explicit Keeper(Core& core_in) : core(core_in) {}
  void drained() noexcept override {
    // With a worker that lives on for the last pins, its thread does the rest: this one may be anybody's. Where no
    // thread could be had, this one does, but not inside the guard of an unpin: the end of a mapping waits for guards.
    // Test: Evicting.TheLastPinClosesAPoolThatHasNoThread.
    if (core.worker().running()) {
      core.worker().finish_core();
    } else {
      epoch::outside(&core, [](void* ended) { finish(static_cast<Core*>(ended)); });
    }
  }
  Core& core;
};

Core::Core() = default;
Core::~Core() = default;

// Stands where the constructor's long arguments would: builds the parts in the order in which they need each other.
struct CoreBuilder {
  static Result<Core*> build(std::unique_ptr<device::Device> device, std::unique_ptr<Format> format, Units units) {
    std::unique_ptr<Core> core(new Core);
    core->id_ = pin::new_filesystem_number();
    core->name_ = device->name();
    core->window_ = device->window();
    core->read_only_ = format->read_only() || device->read_only();
    core->stores_are_durable_ = device->geometry().is_persistent_memory() && !core->read_only_;
    core->keeper_ = std::make_unique<Core::Keeper>(*core);
    HF_ASSIGN(core->pages_, pagemap::PageMap::create(device->pages(), core->keeper_.get()));
    core->device_ = std::move(device);
    core->format_ = std::move(format);
    if (core->format_->recovery().unclean) core->note_unmarked();
    core->quarantine_ = std::make_unique<Quarantine>(*core);
    core->worker_ = std::make_unique<Worker>(*core);
    listen_for_losses(*core);
    core->units_ = std::make_unique<UnitMaker>(*core->device_, units);
    core->inodes_ = std::make_unique<InodeTable>(*core);
    return core.release();
  }
};

Result<std::shared_ptr<Core>> Core::start(std::unique_ptr<device::Device> device, std::unique_ptr<Format> format,
                                          Units units) {
  HF_ASSIGN(Core* const core, CoreBuilder::build(std::move(device), std::move(format), units));
  std::shared_ptr<Core> started(core, &Core::abandon);
  if (!core->read_only()) {
    HF_TRY(clean_orphans(*core));
    core->worker().serve();
    start_commit_timer(*core);
  }
  return started;
}

Error Core::usable_error() const {
  if (fork_generation() != generation_) {
    return Error(ECHILD, name_, "mounted by the parent of this process", "mount it in the child");
  }
  return Error(ENODEV, name_, "unmounted");
}

Status Core::writable() const {
  HF_TRY(usable());
  if (read_only_) return Error(EROFS, name_, "mounted for reading");
  return {};
}

void Core::note_failure(const Error& error) {
  HF_TRACE1(background_failure, error.code());
  const MutexLock lock(failure_lock_);
  if (!failure_) failure_ = error;
}

std::optional<Error> Core::failure() const {
  const MutexLock lock(failure_lock_);
  return failure_;
}

Status Core::close_format(bool clean) {
  const MutexLock turn(worker().turn());  // the commit timer works in it
  if (!format_) return {};
  Status closed = format_->close(clean);
  format_.reset();
  return closed;
}

// Nobody has a handle: no new pin, no new copy, no job. What is left are pins and what they keep.
void Core::abandon(Core* core) noexcept {
  if (fork_generation() != core->generation_) return;  // inert in a child: the parent's memory, locks and threads
  if (!core->unmounted_.load(std::memory_order_acquire)) {
    core->worker().serve();
    const MutexLock turn(core->worker().turn());
    core->inodes().for_each([core](Inode& inode) {
      if (Status recorded = record(inode); !recorded) core->note_failure(recorded.error());
    });
    core->inodes().release_tracking();
  }
  core->pages().close();
  // Pins without a worker would have their last one close the pool on its own thread.
  const bool pinned = core->pages().references() != 0;
  if (pinned) {
    static_cast<void>(core->worker().start());
  } else {
    core->worker().stop();
  }
  core->pages().release_creator();
}

void Core::finish(Core* core) noexcept {
  if (!core->unmounted_.load(std::memory_order_acquire)) {
    // The last pins are gone: what they kept can go.
    while (core->worker().has_requests()) core->worker().serve();
    {
      const MutexLock turn(core->worker().turn());
      core->inodes().drop_unused();
    }
    const bool clean = !core->failure() && core->inodes().evicting_count() == 0 && core->quarantine().empty();
    static_cast<void>(core->close_format(clean));
    HF_MARK("core.closed");
  }
  core->worker().stop();
  // What could not be freed: its object goes with the table.
  static_cast<void>(core->quarantine().give_up_holding());
  delete core;
}

}  // namespace holdfast::filesystem
