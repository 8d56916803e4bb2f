#include "filesystem/quarantine.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/check.h"
#include "base/trace.h"
#include "base/wait_queue.h"
#include "filesystem/core.h"
#include "filesystem/evict.h"
#include "filesystem/worker.h"

namespace holdfast::filesystem {

std::uint64_t Quarantine::bytes() {
  core_.worker().serve();
  const MutexLock lock(mutex_);
  std::uint64_t sum = 0;
  for (const auto& [number, record] : records_) sum += record.bytes;
  return sum;
}

std::vector<QuarantineInfo> Quarantine::list() {
  core_.worker().serve();
  const MutexLock lock(mutex_);
  std::vector<QuarantineInfo> result;
  for (const auto& [number, record] : records_) {
    if (record.bytes != 0) result.push_back({raw(number), record.bytes, record.evicted});
  }
  return result;
}

Status Quarantine::notify_when_empty(int event_fd) {
  core_.worker().serve();
  const MutexLock lock(mutex_);
  if (records_.empty()) {
    if (eventfd_write(event_fd, 1) != 0) return Error(errno, fmt::format("descriptor {}", event_fd), "not an eventfd");
    return {};
  }
  event_fds_.push_back(event_fd);
  return {};
}

bool Quarantine::empty() const {
  const MutexLock lock(mutex_);
  return records_.empty();
}

void Quarantine::begin(const Inode& inode) {
  const MutexLock lock(mutex_);
  Record& record = records_[inode.number];
  record.evicted = true;
}

void Quarantine::still_held(const Inode& inode, std::uint64_t bytes) {
  inode.lock.assert_held();
  const MutexLock lock(mutex_);
  Record& record = records_[inode.number];
  record.bytes = bytes;
  record.shares_units = inode.shares_units;
  HF_TRACE2(quarantine, raw(inode.number), bytes);
}

void Quarantine::end(InodeNumber inode) {
  std::vector<int> told;
  {
    const MutexLock lock(mutex_);
    records_.erase(inode);
    if (!records_.empty()) return;
    told.swap(event_fds_);
  }
  // A descriptor that its owner closed meanwhile is the owner's matter.
  for (const int event_fd : told) static_cast<void>(eventfd_write(event_fd, 1));
  wake(empty_key());
}

std::vector<InodeNumber> Quarantine::sharers() const {
  const MutexLock lock(mutex_);
  std::vector<InodeNumber> result;
  for (const auto& [number, record] : records_) {
    if (record.evicted && record.shares_units) result.push_back(number);
  }
  return result;
}

InodeRef Quarantine::holding() const {
  const MutexLock lock(mutex_);
  return holding_.share();
}

bool Quarantine::is_holding(const Inode& inode) const {
  const MutexLock lock(mutex_);
  return holding_ && &*holding_ == &inode;
}

void Quarantine::offer_holding(InodeRef inode) {
  const MutexLock lock(mutex_);  // released before `inode` is, if that is not taken
  if (holding_) return;
  records_[inode->number] = {};
  holding_ = std::move(inode);
  next_ = PageIndex(0);
}

InodeRef Quarantine::give_up_holding() {
  const MutexLock lock(mutex_);
  HF_DEBUG_CHECK(copied_.empty(), "the holding inode goes while {} copies last", copied_.size());
  return std::move(holding_);
}

PageIndex Quarantine::next_index(PageCount count, PageCount cluster) {
  const MutexLock lock(mutex_);
  const PageIndex index(round_up(next_.raw(), cluster.raw()));
  next_ = index + PageCount(round_up(count.raw(), cluster.raw()));
  return index;
}

void Quarantine::add_holds(PageRange range, const mapping::LastingHolds& holds) {
  const MutexLock lock(mutex_);
  copied_.push_back({range, holds});
}

bool Quarantine::held_by_copy(PageIndex index) const {
  const MutexLock lock(mutex_);
  return std::any_of(copied_.begin(), copied_.end(),
                     [index](const Copied& copied) { return copied.range.contains(index) && !copied.holds.ended(); });
}

bool Quarantine::waits_for_holds() const {
  const MutexLock lock(mutex_);
  return !copied_.empty();
}

bool Quarantine::holds_ended() const {
  const MutexLock lock(mutex_);
  return std::any_of(copied_.begin(), copied_.end(), [](const Copied& copied) { return copied.holds.ended(); });
}

void Quarantine::serve_ended_holds() {
  {
    const MutexLock lock(mutex_);
    const auto gone =
        std::remove_if(copied_.begin(), copied_.end(), [](const Copied& copied) { return copied.holds.ended(); });
    if (gone == copied_.end()) return;
    copied_.erase(gone, copied_.end());
  }
  reap_holding(core_);
}

}  // namespace holdfast::filesystem
