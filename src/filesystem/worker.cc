#include "filesystem/worker.h"

#include <pthread.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/fault_point.h"
#include "base/mark.h"
#include "base/wait_queue.h"
#include "filesystem/core.h"
#include "filesystem/evict.h"
#include "filesystem/quarantine.h"

namespace holdfast::filesystem {

// Outlives the worker where its own thread ends it.
struct Worker::State {
  Parker parker;
  std::atomic<ReleaseHook*> requests{nullptr};  // last come first
  std::atomic<bool> trim{false};
  std::atomic<bool> stop{false};
  std::atomic<bool> finish{false};
  std::atomic<bool> running{false};
  std::atomic<std::thread::id> thread{};
  Mutex mutex{LockRank::leaf};
  std::vector<std::function<void()>> jobs HF_GUARDED_BY(mutex);
  std::vector<std::unique_ptr<Pending>> arrived HF_GUARDED_BY(mutex);
};

void ReleaseHook::last_put(Pfn, Order) noexcept { worker_.queue(*this); }
void ReleaseHook::request() noexcept { worker_.request(*this); }

void ReleaseHook::Ending::operator()(ReleaseHook* hook) const noexcept {
  // acq_rel: partner is the exchange in serve. Either the worker takes the hook out of its queue later and finds that
  // it is gone, or it had done so, and the hook ends here.
  if (hook->state_.exchange(gone, std::memory_order_acq_rel) != queued) delete hook;
}

Worker::Worker(Core& core) : core_(core), state_(std::make_shared<State>()) {}

Worker::~Worker() {
  stop();
  // Hooks whose inodes ended while they were queued.
  ReleaseHook* hook = state_->requests.exchange(nullptr, std::memory_order_acquire);
  while (hook != nullptr) {
    ReleaseHook* const next = hook->next_;
    HF_DEBUG_CHECK(hook->state_.load() == ReleaseHook::gone, "an inode outlives the worker");
    delete hook;
    hook = next;
  }
}

void Worker::queue(ReleaseHook& hook) noexcept {
  // acq_rel: partner is the exchange in serve_queue. Queued already: whoever takes it out looks at the pages
  // afterwards, and sees our unpin, as he reads what this stored. (A compare-and-exchange that fails would be a load,
  // and order nothing.) Never gone: no upcall runs any more by then.
  if (hook.state_.exchange(ReleaseHook::queued, std::memory_order_acq_rel) != ReleaseHook::idle) return;
  ReleaseHook* head = state_->requests.load(std::memory_order_relaxed);
  do {
    hook.next_ = head;
    // release: partner is the exchange in serve.
  } while (!state_->requests.compare_exchange_weak(head, &hook, std::memory_order_release));
  state_->parker.unpark();
}

void Worker::request(ReleaseHook& hook) noexcept {
  queue(hook);
  static_cast<void>(start());
}

void Worker::request_trim() noexcept {
  if (state_->trim.exchange(true, std::memory_order_relaxed)) return;
  if (start()) state_->parker.unpark();
}

Status Worker::post(std::function<void()> job) {
  HF_TRY(start());
  {
    const MutexLock lock(state_->mutex);
    state_->jobs.push_back(std::move(job));
  }
  state_->parker.unpark();
  return {};
}

Status Worker::add(std::unique_ptr<Pending> pending) {
  HF_TRY(start());
  {
    const MutexLock lock(state_->mutex);
    state_->arrived.push_back(std::move(pending));
  }
  state_->parker.unpark();
  return {};
}

Error Worker::no_thread() const {
  return Error(EAGAIN, core_.name(), "no thread could be started for work in the background");
}

Status Worker::start() noexcept {
  // acquire: partner is the store below.
  if (state_->running.load(std::memory_order_acquire)) return {};
  const MutexLock lock(start_);
  if (state_->running.load(std::memory_order_relaxed) || state_->stop.load(std::memory_order_relaxed)) return {};
  if (HF_FAULT_POINT("worker.start")) return no_thread();
  try {
    thread_ = std::thread([state = state_, this] { run(state, this); });
  } catch (const std::system_error&) {
    return no_thread();
  }
  state_->running.store(true, std::memory_order_release);
  return {};
}

bool Worker::running() const { return state_->running.load(std::memory_order_acquire); }

bool Worker::on_own_thread() const {
  return state_->thread.load(std::memory_order_relaxed) == std::this_thread::get_id();
}

void Worker::stop() {
  state_->stop.store(true, std::memory_order_release);
  state_->parker.unpark();
  const MutexLock lock(start_);
  if (!thread_.joinable()) return;
  if (on_own_thread()) {
    thread_.detach();
  } else {
    thread_.join();
  }
  state_->running.store(false, std::memory_order_release);
}

bool Worker::has_requests() const { return state_->requests.load(std::memory_order_acquire) != nullptr; }

void Worker::finish_core() noexcept {
  const std::shared_ptr<State> state = state_;
  state->finish.store(true, std::memory_order_release);
  state->parker.unpark();
}

void Worker::serve() {
  const MutexLock turn(turn_);
  // What is served may ask for more: the holding inode without blocks is evicted next. Others who keep asking are
  // served by the next call.
  for (int round = 0; round < 4 && has_requests(); ++round) serve_queue();
  core_.quarantine().serve_ended_holds();
  if (state_->trim.exchange(false, std::memory_order_relaxed)) {
    core_.inodes().drop_unused(InodeTable::kUnusedMax / 8 * 7);
  }
}

void Worker::serve_queue() {
  ReleaseHook* hook = state_->requests.exchange(nullptr, std::memory_order_acquire);
  while (hook != nullptr) {
    ReleaseHook* const next = hook->next_;
    std::uint32_t queued = ReleaseHook::queued;
    // acq_rel: partners are the exchanges in queue, each of them, and Ending. From here on a last put queues it again.
    if (hook->state_.compare_exchange_strong(queued, ReleaseHook::idle, std::memory_order_acq_rel)) {
      HF_MARK("worker.serves");
      look_at(hook->inode_);
    } else {
      delete hook;
    }
    hook = next;
  }
}

// `worker` and its core may end inside a job or a pending step, when that held the last reference; then `stop` is set,
// and nothing but the state is touched.
void Worker::run(const std::shared_ptr<State>& state, Worker* worker) {
  pthread_setname_np(pthread_self(), "holdfast");
  state->thread.store(std::this_thread::get_id(), std::memory_order_relaxed);
  const auto stopped = [&state] { return state->stop.load(std::memory_order_acquire); };
  std::vector<std::unique_ptr<Pending>> pending;
  while (!stopped()) {
    worker->serve();
    std::vector<std::function<void()>> jobs;
    {
      const MutexLock lock(state->mutex);
      jobs.swap(state->jobs);
      std::move(state->arrived.begin(), state->arrived.end(), std::back_inserter(pending));
      state->arrived.clear();
    }
    for (std::function<void()>& job : jobs) {
      job();
      job = nullptr;
      if (stopped()) return;
    }
    Deadline wake_at = Deadline::never();
    for (auto each = pending.begin(); each != pending.end();) {
      if ((*each)->advance(state->parker) == Pending::Progress::done) {
        each = pending.erase(each);
        if (stopped()) return;
      } else {
        wake_at = std::min(wake_at, (*each)->deadline());
        ++each;
      }
    }
    if (state->finish.load(std::memory_order_acquire)) {
      Core::finish(&worker->core_);
      return;
    }
    std::optional<Waiter> hold_ends;
    if (worker->core_.quarantine().waits_for_holds()) hold_ends.emplace(mapping::hold_ended_key(), state->parker);
    if (hold_ends && worker->core_.quarantine().holds_ended()) continue;
    if (state->requests.load(std::memory_order_relaxed) != nullptr) continue;
    static_cast<void>(state->parker.park(wake_at));
  }
}

}  // namespace holdfast::filesystem
