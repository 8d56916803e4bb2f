// Who is told that a page of an inode lost its last reference by an unpin: the worker, which looks whether blocks in
// quarantine became free.
//
// The upcall may run while the inode is going away, so the hook outlives it where it must: it is a node of the worker's
// queue, and whoever comes last deletes it.
//
// States: idle -> queued (in the worker's queue, once) -> idle ...; gone: the inode ended, the worker deletes it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "pagemap/pagemap.h"

namespace holdfast::filesystem {

class Inode;
class Worker;

class ReleaseHook final : public pagemap::PageOwner {
 public:
  ReleaseHook(Worker& worker, Inode& inode) : worker_(worker), inode_(inode) {}
  void last_put(Pfn first, Order order) noexcept override;
  // Asks the worker to look at the inode. Lock-free; does not start the worker's thread.
  void request() noexcept;

  struct Ending {
    // The inode is gone and no upcall runs any more (its mapping ended before).
    void operator()(ReleaseHook* hook) const noexcept;
  };

 private:
  friend class Worker;
  enum State : std::uint32_t { idle, queued, gone };
  ~ReleaseHook() = default;

  Worker& worker_;
  Inode& inode_;
  std::atomic<std::uint32_t> state_{idle};
  ReleaseHook* next_ = nullptr;  // in the worker's queue
};

using ReleaseHookPtr = std::unique_ptr<ReleaseHook, ReleaseHook::Ending>;

}  // namespace holdfast::filesystem
