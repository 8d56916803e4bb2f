#include "filesystem/async.h"

#include <sys/eventfd.h>

#include <optional>
#include <utility>

#include "base/mark.h"
#include "filesystem/punch.h"
#include "filesystem/quarantine.h"
#include "filesystem/truncate.h"
#include "filesystem/worker.h"
#include "layout/break.h"

namespace holdfast::filesystem {
namespace {

// A break under way, and what is to be done when its range is free of pins.
class PendingBreak final : public Pending {
 public:
  // False: stage 1 again.
  using Commit = std::function<Result<bool>(Inode&, layout::Break&)>;

  PendingBreak(std::shared_ptr<OpenFile> file, PageRange range, const layout::BreakOptions& options, Commit commit,
               Done done, int event_fd)
      : file_(std::move(file)),
        broken_(layout::Break::begin(file_->inode->mapping, range, options)),
        deadline_(options.deadline),
        commit_(std::move(commit)),
        done_(std::move(done)),
        event_fd_(event_fd) {}

  Progress advance(Parker& parker) override {
    for (;;) {
      const Result<layout::Break::Progress> progress = broken_->advance(parker);
      if (!progress) return finish(Error(progress.error()).about(file_->inode->path_hint()));
      if (*progress == layout::Break::Progress::waiting) return Progress::waiting;
      HF_MARK("async.commits");
      Result<bool> committed = commit_(*file_->inode, *broken_);
      if (!committed) return finish(std::move(committed).error());
      if (*committed) return finish({});
    }
  }

  Deadline deadline() const override { return deadline_; }

 private:
  Progress finish(Status status) {
    broken_.reset();  // whoever waited for the range goes on
    // Before anybody is told: who drops the file and the file system after that finds them closed. Where the caller did
    // so already, the core ends here.
    file_.reset();
    if (event_fd_ >= 0) static_cast<void>(eventfd_write(event_fd_, 1));
    done_(std::move(status));
    return Progress::done;
  }

  std::shared_ptr<OpenFile> file_;
  std::optional<layout::Break> broken_;
  const Deadline deadline_;
  const Commit commit_;
  const Done done_;
  const int event_fd_;
};

}  // namespace

Status truncate_async(const std::shared_ptr<OpenFile>& file, std::uint64_t size, OnPinned on_pinned, Deadline deadline,
                      Done done, int event_fd) {
  Inode& inode = *file->inode;
  HF_TRY(check_truncate(inode, size));
  auto commit = [size, on_pinned](Inode& of, layout::Break& broken) {
    return commit_truncate(of, broken, size, on_pinned);
  };
  // Growing breaks an empty range: nothing is in its way.
  // acquire: partner is whoever changed the size; looked at again under the lock.
  const bool grows = inode.size.load(std::memory_order_acquire) <= size;
  PageRange range = range_to_truncate(inode, size, on_pinned);
  if (grows) range.first = page_after(size);
  return file->core->worker().add(std::make_unique<PendingBreak>(file, range, layout::BreakOptions{on_pinned, deadline},
                                                                 std::move(commit), std::move(done), event_fd));
}

Status punch_async(const std::shared_ptr<OpenFile>& file, std::uint64_t offset, std::uint64_t length,
                   OnPinned on_pinned, Deadline deadline, Done done, int event_fd) {
  Inode& inode = *file->inode;
  HF_TRY(check_range(inode, offset, length));
  auto commit = [offset, length, on_pinned](Inode& of, layout::Break& broken) {
    return commit_punch(of, broken, offset, length, on_pinned);
  };
  return file->core->worker().add(std::make_unique<PendingBreak>(file, range_to_punch(inode, offset, length, on_pinned),
                                                                 layout::BreakOptions{on_pinned, deadline},
                                                                 std::move(commit), std::move(done), event_fd));
}

Status drain(Core& core, int event_fd) {
  HF_TRY(core.usable());
  return core.quarantine().notify_when_empty(event_fd);
}

}  // namespace holdfast::filesystem
