// The end of a raw device, by remove() or because nobody has it any more.
#include <cerrno>
#include <system_error>
#include <thread>
#include <utility>

#include "base/epoch.h"
#include "base/mark.h"
#include "base/trace.h"
#include "base/wait_queue.h"
#include "devdax/core.h"
#include "layout/break.h"

namespace holdfast::devdax {

// Nothing new begins, and no entry is still being made, when this returns.
void Core::close() {
  // release: partner is the load in closed(). What comes first of this store and a fault is decided by holds and gate.
  closed_.store(true, std::memory_order_release);
  pages_->close();
  HF_MARK("devdax.closed");
}

// What windows show goes, and the references of entries; faults that were on their way are over. Idempotent.
void Core::take_away() {
  mapping_->close_gate(kEverything, Nanoseconds::max());
  HF_MARK("devdax.gated");
  windows_->show_the_end();
  static_cast<void>(mapping_->zap(kEverything));
  mapping_->open_gate(kEverything);
  HF_MARK("devdax.taken");
}

Status Core::remove(Deadline deadline) {
  if (fork_generation() != generation_) return usable_error();
  close();
  take_away();
  // Pins: their units lost the entry's reference and cannot be pinned anew. Two removers take turns here, so that
  // whoever returns finds the memory gone.
  Result<layout::Break> last = layout::Break::wait(*mapping_, kEverything, {OnPinned::wait, deadline});
  if (!last) return std::move(last).error().about(name_);
  for (;;) {
    if (std::optional<layout::Commit> commit = last->commit()) {
      commit->remove_entries();
      end_memory();
      return {};
    }
    // A caller's buffer is being copied still.
    if (Status again = last->again_wait(); !again) return Error(again.error()).about(name_);
  }
}

// A signal does not end it: what it waits for is bounded here, or nobody waits for this thread.
void Core::wait_until_drained() const {
  const auto is_drained = [this] { return (life_.load(std::memory_order_acquire) & kDrained) != 0; };
  while (!is_drained()) static_cast<void>(wait_until(&life_, Deadline::never(), is_drained));
}

// Nobody has a pin. Whoever gave the last one back may not have left the page map yet.
void Core::end_memory() {
  release_creator();
  HF_MARK("devdax.draining");
  wait_until_drained();
  ended_.store(true, std::memory_order_release);  // partner: the load in window()
  device_->close();
  HF_TRACE1(devdax_removed, name_.c_str());
}

void Core::release_creator() {
  if (!creator_released_.exchange(true, std::memory_order_acq_rel)) pages_->release_creator();
}

// The page map calls this last, and touches nothing afterwards. Nor may this, once the bit is set: who waits for it may
// end the core at once.
void Core::Keeper::drained() noexcept {
  Core* const mine = &core;
  const void* const key = &mine->life_;
  // acq_rel: partners are the load in wait_until_drained and the fetch_or in abandon.
  if ((mine->life_.fetch_or(kDrained, std::memory_order_acq_rel) & kAbandoned) == 0) return wake(key);
  epoch::retire(mine, [](void* memory) { delete static_cast<Core*>(memory); });
}

// A thread that lives until the last pin is gone: whoever releases it unmaps nothing.
bool Core::start_waiting_for_pins() noexcept {
  const auto wait_and_end = [this] {
    wait_until_drained();
    HF_MARK("devdax.drained");
    delete this;
  };
  try {
    std::thread(wait_and_end).detach();
    return true;
  } catch (const std::system_error&) {
    return false;
  }
}

// Nobody has a handle or a window: no fault, no copy, no new pin. What is left are pins.
void Core::abandon(Core* core) noexcept {
  if (fork_generation() != core->generation_) return;  // inert in a child: the parent's memory and threads
  core->close();
  static_cast<void>(core->mapping_->zap(kEverything));
  core->mapping_->remove(kEverything);
  core->windows_.reset();
  core->mapping_.reset();
  const bool pinned = core->pages_->references() != 0;
  if (pinned && core->start_waiting_for_pins()) return core->release_creator();
  core->release_creator();
  // Without a thread whoever comes second ends the core.
  if ((core->life_.fetch_or(kAbandoned, std::memory_order_acq_rel) & kDrained) != 0) delete core;
}

}  // namespace holdfast::devdax
