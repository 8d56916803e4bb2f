#include "filesystem/commit_timer.h"

#include <memory>

#include "base/mark.h"
#include "filesystem/core.h"

namespace holdfast::filesystem {
namespace {

class CommitTimer final : public Pending {
 public:
  CommitTimer(Core& core, Nanoseconds interval) : core_(core), interval_(interval), next_(Deadline::after(interval)) {}

  Progress advance(Parker&) override {
    if (!next_.passed()) return Progress::waiting;
    {
      const MutexLock turn(core_.worker().turn());
      // An unmount may find somebody in its way and take it back.
      if (core_.is_usable()) {
        if (Status tended = core_.format().tend(); !tended) core_.note_failure(tended.error());
      }
    }
    HF_MARK("commit_timer.ran");
    next_ = Deadline::after(interval_);
    return Progress::waiting;
  }
  Deadline deadline() const override { return next_; }

 private:
  Core& core_;
  const Nanoseconds interval_;
  Deadline next_;
};

}  // namespace

void start_commit_timer(Core& core) {
  const Nanoseconds interval = core.format().tend_interval();
  if (interval == Nanoseconds(0)) return;
  static_cast<void>(core.worker().add(std::make_unique<CommitTimer>(core, interval)));
}

}  // namespace holdfast::filesystem
