// The one thread that does what no caller should wait for: eviction, freeing what left quarantine, and breaks that
// their callers do not wait for. Any number of pending breaks sleep on its one parker.
//
// The thread is started by the first request that needs it and ends with the core. Where it cannot be started (no
// threads left) requests stay queued and are served by unmount or at the end.
//
// Locking: the turn (rank filesystem) is held while inodes are evicted or dropped, so that their objects end on one
// thread at a time. Jobs and pending work run without it: they may call anything, unmount included.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/parker.h"
#include "base/result.h"
#include "filesystem/release_hook.h"

namespace holdfast::filesystem {

class Core;

// Work in steps: advance() until it says done. It never blocks for long; `parker` is unparked when it is worth calling
// again, and the worker calls it at `deadline` at the latest.
class Pending {
 public:
  virtual ~Pending() = default;
  enum class Progress : std::uint8_t { waiting, done };
  virtual Progress advance(Parker& parker) = 0;
  virtual Deadline deadline() const = 0;
};

class Worker {
 public:
  explicit Worker(Core& core);
  // Stops the thread; waits for the step it is at (bounded), unless it is the calling thread.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Looks at the inode soon: evicts it, or frees what is idle of the quarantine. Starts the thread.
  void request(ReleaseHook& hook) noexcept;
  // The same without starting the thread: lock-free, for upcalls. Who puts pages into quarantine started it.
  void queue(ReleaseHook& hook) noexcept;
  // Too many unreferenced inodes are in memory.
  void request_trim() noexcept;
  // EAGAIN: no thread could be started; `job` (`pending`) was not taken.
  Status post(std::function<void()> job);
  Status add(std::unique_ptr<Pending> pending);
  // EAGAIN.
  Status start() noexcept;
  bool running() const;

  bool has_requests() const;
  // Serves the requests queued so far, on the calling thread. Waits for the turn.
  void serve();
  Mutex& turn() { return turn_; }

  // No page is referenced any more and nobody else has the core: it ends on the worker's thread, soon. The worker must
  // run. Touches nothing of the core afterwards.
  void finish_core() noexcept;
  bool on_own_thread() const;
  void stop();

 private:
  friend class ReleaseHook;
  struct State;
  Error no_thread() const;
  void serve_queue() HF_REQUIRES(turn_);
  static void run(const std::shared_ptr<State>& state, Worker* worker);

  Core& core_;
  Mutex turn_{LockRank::filesystem};
  std::shared_ptr<State> state_;
  std::thread thread_ HF_GUARDED_BY(start_);
  mutable Mutex start_{LockRank::leaf};
};

}  // namespace holdfast::filesystem
