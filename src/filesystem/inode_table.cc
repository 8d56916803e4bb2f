#include "filesystem/inode_table.h"

#include <algorithm>
#include <cerrno>
#include <unordered_map>
#include <utility>

#include "base/check.h"
#include "base/mark.h"
#include "base/trace.h"
#include "base/wait_queue.h"
#include "filesystem/core.h"
#include "filesystem/dirty.h"
#include "filesystem/quarantine.h"
#include "filesystem/record.h"
#include "filesystem/worker.h"
#include "layout/final.h"

namespace holdfast::filesystem {

struct InodeTable::Parts {
  explicit Parts(Core& core_in) : core(core_in) {}

  Core& core;
  mutable Mutex mutex{LockRank::inode_table};
  std::unordered_map<std::uint32_t, std::unique_ptr<Inode>> inodes HF_GUARDED_BY(mutex);
  // Grows whenever an object leaves the table: attributes that were read from the format before may be old then.
  std::uint64_t departures HF_GUARDED_BY(mutex) = 0;
  Inode* oldest HF_GUARDED_BY(mutex) = nullptr;
  Inode* newest HF_GUARDED_BY(mutex) = nullptr;
  std::size_t unused HF_GUARDED_BY(mutex) = 0;

  Inode* find(InodeNumber number) HF_REQUIRES(mutex) {
    const auto found = inodes.find(raw(number));
    return found == inodes.end() ? nullptr : found->second.get();
  }
  std::unique_ptr<Inode> take_out(Inode& inode) HF_REQUIRES(mutex) {
    const auto found = inodes.find(raw(inode.number));
    HF_CHECK(found != inodes.end() && found->second.get() == &inode, "inode {} is not the table's", raw(inode.number));
    std::unique_ptr<Inode> taken = std::move(found->second);
    inodes.erase(found);
    ++departures;
    return taken;
  }
};

InodeTable::InodeTable(Core& core) : parts_(std::make_unique<Parts>(core)) {}

InodeTable::~InodeTable() = default;

Result<InodeRef> InodeTable::get(InodeNumber number) {
  Parts& parts = *parts_;
  for (;;) {
    std::uint64_t departures = 0;
    bool evicting = false;
    bool dropping = false;
    {
      const MutexLock lock(parts.mutex);
      if (Inode* const inode = parts.find(number)) {
        evicting = inode->evicting_;
        dropping = inode->dropping_;
        if (!evicting && !dropping) return reference(*inode);
      }
      departures = parts.departures;
    }
    if (evicting) return Error(ESTALE, fmt::format("inode {}", raw(number)), "its last name and handle are gone");
    if (dropping) {
      HF_MARK("inode_table.waits");
      // Bounded: dropping waits for nobody.
      static_cast<void>(wait_until(&parts, Deadline::never(), [&] {
        const MutexLock lock(parts.mutex);
        return parts.departures != departures || parts.find(number) == nullptr || !parts.find(number)->dropping_;
      }));
      continue;
    }
    HF_ASSIGN(const Attributes attributes, parts.core.format().read_inode(number));
    if (attributes.links == 0) return Error(ESTALE, fmt::format("inode {}", raw(number)), "its last name is gone");
    auto fresh = std::make_unique<Inode>(parts.core, number, attributes);
    const MutexLock lock(parts.mutex);
    if (parts.departures != departures || parts.find(number) != nullptr) continue;
    Inode& inode = *fresh;
    parts.inodes.emplace(raw(number), std::move(fresh));
    return reference(inode);
  }
}

InodeRef InodeTable::insert_new(InodeNumber number, const Attributes& attributes) {
  Parts& parts = *parts_;
  auto fresh = std::make_unique<Inode>(parts.core, number, attributes);
  const MutexLock lock(parts.mutex);
  if (Inode* const there = parts.find(number)) {
    // A path walk that was sent here by an old name came first. It read the new inode, as it stands.
    HF_CHECK(!there->evicting_ && !there->dropping_, "inode {} was given out while its object lives", raw(number));
    return reference(*there);
  }
  Inode& inode = *fresh;
  parts.inodes.emplace(raw(number), std::move(fresh));
  return reference(inode);
}

InodeRef InodeTable::reference(Inode& inode) {
  parts_->mutex.assert_held();
  if (inode.unused_) set_unused(inode, false);
  // relaxed: the table's mutex orders the step from 0 with the one to 0.
  inode.references_.fetch_add(1, std::memory_order_relaxed);
  return InodeRef(&inode);
}

void InodeTable::set_unused(Inode& inode, bool unused) {
  parts_->mutex.assert_held();
  HF_DEBUG_CHECK(inode.unused_ != unused, "inode {} is put on the unused list twice, or off it", raw(inode.number));
  inode.unused_ = unused;
  Inode*& oldest = parts_->oldest;
  Inode*& newest = parts_->newest;
  if (unused) {
    inode.older_ = newest;
    (newest != nullptr ? newest->newer_ : oldest) = &inode;
    newest = &inode;
    ++parts_->unused;
  } else {
    (inode.older_ != nullptr ? inode.older_->newer_ : oldest) = inode.newer_;
    (inode.newer_ != nullptr ? inode.newer_->older_ : newest) = inode.older_;
    inode.older_ = inode.newer_ = nullptr;
    --parts_->unused;
  }
}

void InodeTable::released(Inode& inode) noexcept {
  Parts& parts = *parts_;
  Core& core = parts.core;
  bool evict = false;
  bool crowded = false;
  {
    const MutexLock lock(parts.mutex);
    // acquire: partner is the release in InodeRef::drop.
    if (inode.references_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    if (inode.orphan_) {
      // All that needs the inode, and its record in the quarantine, comes inside of the mutex: its hook may be queued
      // already, by a last put, and whoever serves that ends the inode as soon as he sees that it is being evicted.
      // Test: Evicting.TheWorkerIsThereBeforeTheLastReferenceHasAskedForIt.
      HF_TRACE1(evict, raw(inode.number));
      evict = inode.evicting_ = true;
      core.quarantine().begin(inode);
      core.worker().queue(*inode.release_hook);
    } else if (!inode.dropping_) {
      set_unused(inode, true);
      crowded = parts.unused > kUnusedMax;
    }
  }
  if (evict) {
    HF_MARK("inode_table.evicts");
    static_cast<void>(core.worker().start());
  }
  if (crowded) core.worker().request_trim();
}

void InodeTable::mark_orphan(Inode& inode) {
  const MutexLock lock(parts_->mutex);
  inode.orphan_ = true;
}

void InodeTable::unmark_orphan(Inode& inode) {
  const MutexLock lock(parts_->mutex);
  HF_CHECK(!inode.evicting_, "inode {} gets a name during its eviction", raw(inode.number));
  inode.orphan_ = false;
}

bool InodeTable::is_evicting(const Inode& inode) const {
  const MutexLock lock(parts_->mutex);
  return inode.evicting_;
}

Inode* InodeTable::evicting(InodeNumber number) const {
  const MutexLock lock(parts_->mutex);
  Inode* const inode = parts_->find(number);
  return inode != nullptr && inode->evicting_ ? inode : nullptr;
}

std::size_t InodeTable::evicting_count() const {
  const MutexLock lock(parts_->mutex);
  return static_cast<std::size_t>(std::count_if(parts_->inodes.begin(), parts_->inodes.end(),
                                                [](const auto& each) { return each.second->evicting_; }));
}

void InodeTable::finish_eviction(Inode& inode) {
  std::unique_ptr<Inode> gone;
  {
    const MutexLock lock(parts_->mutex);
    HF_CHECK(inode.evicting_ && inode.references_.load(std::memory_order_relaxed) == 0,
             "inode {} is freed while it is in use", raw(inode.number));
    gone = parts_->take_out(inode);
  }
}

std::vector<std::string> InodeTable::referenced(std::size_t limit) {
  std::vector<InodeRef> open;
  {
    const MutexLock lock(parts_->mutex);
    for (const auto& [number, inode] : parts_->inodes) {
      if (open.size() == limit) break;
      if (inode->open_files.load(std::memory_order_relaxed) != 0) open.push_back(reference(*inode));
    }
  }
  std::vector<std::string> names;
  names.reserve(open.size());
  for (const InodeRef& inode : open) names.push_back(inode->path_hint());
  return names;
}

std::string InodeTable::known_path(InodeNumber number) {
  InodeRef inode;
  {
    const MutexLock lock(parts_->mutex);
    Inode* const found = parts_->find(number);
    // An object that is going must not be kept.
    if (found == nullptr || found->evicting_ || found->dropping_) return {};
    inode = reference(*found);
  }
  return inode->known_path();
}

void InodeTable::for_each(const std::function<void(Inode&)>& visit) {
  std::vector<InodeRef> inodes;
  {
    const MutexLock lock(parts_->mutex);
    inodes.reserve(parts_->inodes.size());
    for (const auto& [number, inode] : parts_->inodes) {
      if (!inode->evicting_ && !inode->dropping_) inodes.push_back(reference(*inode));
    }
  }
  for (const InodeRef& inode : inodes) visit(*inode);
}

// False: it has pins, or could not be recorded; it stays.
bool InodeTable::drop(Inode& inode) {
  HF_MARK("inode_table.drops");
  // A pin that came before the last handle went is seen; there is nobody to take another one.
  const bool stays = !flush_marked(inode, {PageIndex(0), kEndOfFile}).has_value() || !record(inode).has_value() ||
                     inode.mapping.first_pinned({PageIndex(0), kEndOfFile}).has_value();
  if (!stays) layout::forget_entries(inode.mapping);
  std::unique_ptr<Inode> gone;
  {
    const MutexLock lock(parts_->mutex);
    inode.dropping_ = false;
    if (stays) {
      set_unused(inode, true);
    } else {
      gone = parts_->take_out(inode);
    }
  }
  wake(parts_.get());
  return !stays;
}

void InodeTable::drop_unused(std::size_t keep) {
  std::size_t candidates = unused();
  while (candidates-- > keep) {
    Inode* oldest = nullptr;
    {
      const MutexLock lock(parts_->mutex);
      oldest = parts_->oldest;
      if (oldest == nullptr) return;
      set_unused(*oldest, false);
      oldest->dropping_ = true;
    }
    static_cast<void>(drop(*oldest));
  }
}

void InodeTable::release_tracking() {
  for_each([this](Inode& inode) {
    if (Status flushed = flush_marked(inode, {PageIndex(0), kEndOfFile}); !flushed) {
      parts_->core.note_failure(flushed.error());
    }
    layout::forget_entries(inode.mapping);
  });
}

std::size_t InodeTable::unused() const {
  const MutexLock lock(parts_->mutex);
  return parts_->unused;
}

std::size_t InodeTable::size() const {
  const MutexLock lock(parts_->mutex);
  return parts_->inodes.size();
}

}  // namespace holdfast::filesystem
