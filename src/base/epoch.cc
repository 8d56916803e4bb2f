#include "base/epoch.h"

#include <linux/membarrier.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/fork.h"
#include "base/masked.h"
#include "base/mutex.h"
#include "base/wait_queue.h"

namespace holdfast::epoch {

namespace detail {

constinit thread_local Record* own_record = nullptr;
constinit Atomic<std::uint64_t> current{1};
bool asymmetric = false;

}  // namespace detail

namespace {

using detail::Record;

// Invariants
//   G1  `current` grows only under the limbo's lock, and what is retired is tagged with it under the same lock; so an
//       object tagged t was unlinked before the epoch t + 1 began.
//   G2  a guard that began in epoch e saw everything unlinked before e began. So an object tagged t may go when every
//       open guard began after t, tested behind a heavy barrier that came after the unlinking.
struct Retired {
  void* object;
  void (*destroy)(void*);
  std::uint64_t tag;
};

struct Limbo {
  Mutex mutex{LockRank::epoch};
  std::vector<Retired> retired HF_GUARDED_BY(mutex);
  std::size_t collect_at HF_GUARDED_BY(mutex) = kCollectAtLeast;
  // Threads that hold objects out of `retired` and have not destroyed them all; flush waits for them.
  std::atomic<std::uint32_t> destroying{0};

  static constexpr std::size_t kCollectAtLeast = 64;
};

std::atomic<Record*> records{nullptr};  // pushed to, never popped from
std::atomic<Limbo*> limbo_of_process{nullptr};
pthread_key_t thread_end_key;
std::once_flag initialized;

bool register_membarrier() {
#if defined(HF_THREAD_SANITIZER) || (defined(HOLDFAST_SCHEDULER) && HOLDFAST_SCHEDULER)
  return false;
#else
  return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
#endif
}

void return_record(void* value) {
  Record* const record = static_cast<Record*>(value);
  HF_CHECK(!record->inside(), "a thread ends inside an epoch guard");
  detail::own_record = nullptr;
  // release: partner is the exchange in take_record; the next thread finds the record at rest.
  record->taken.store(false, std::memory_order_release);
}

void forget_other_threads() {
  limbo_of_process.store(new Limbo, std::memory_order_relaxed);
  for (Record* record = records.load(std::memory_order_acquire); record != nullptr; record = record->next) {
    const bool own = record == detail::own_record;
    if (!own) record->run_outside = nullptr;
    record->awaited.store(record->run_outside != nullptr ? 1 : 0, std::memory_order_relaxed);
    if (own) continue;
    record->entered.store(0, std::memory_order_relaxed);
    record->taken.store(false, std::memory_order_relaxed);
  }
  if (detail::asymmetric) HF_CHECK(register_membarrier(), "membarrier(2) is gone in a child");
}

void initialize() {
  std::call_once(initialized, [] {
    detail::asymmetric = !masked("membarrier") && register_membarrier();
    // A key's destructor runs after those of thread_local objects, which may still enter, and again if they did.
    const int failure = pthread_key_create(&thread_end_key, return_record);
    HF_CHECK(failure == 0, "no thread-specific key for epochs (errno {})", failure);
    limbo_of_process.store(new Limbo, std::memory_order_release);
    on_fork_in_child(forget_other_threads);
  });
}

Limbo& limbo() {
  initialize();
  return *limbo_of_process.load(std::memory_order_acquire);
}

Record* take_record() {
  for (Record* record = records.load(std::memory_order_acquire); record != nullptr; record = record->next) {
    // acquire: partner is the store in return_record.
    if (!record->taken.load(std::memory_order_relaxed) && !record->taken.exchange(true, std::memory_order_acquire)) {
      return record;
    }
  }
  Record* const record = new Record;
  record->taken.store(true, std::memory_order_relaxed);
  record->next = records.load(std::memory_order_relaxed);
  // release: who walks the list sees the record's fields.
  while (!records.compare_exchange_weak(record->next, record, std::memory_order_release, std::memory_order_relaxed)) {
  }
  return record;
}

// Everything this thread did before is visible to every thread that, after this, is found outside of a guard or inside
// a newer one. Partner: detail::publish.
void heavy_barrier() {
  if (detail::asymmetric) {
    const long outcome = syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    HF_CHECK(outcome == 0, "membarrier(2) failed after it was registered (errno {})", errno);
    return;
  }
#if !defined(HF_THREAD_SANITIZER)
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

// Begins a new epoch and returns it. Guards that began before it are those below it.
std::uint64_t begin_grace(Limbo& limbo) {
  std::uint64_t begun = 0;
  {
    const MutexLock lock(limbo.mutex);
    // Through word(): the test scheduler must not stop a thread that holds a lock. Partner: enter().
    begun = detail::current.word().fetch_add(1, std::memory_order_seq_cst) + 1;
  }
  heavy_barrier();
  return begun;
}

std::uint64_t oldest_guard(std::uint64_t limit) {
  for (Record* record = records.load(std::memory_order_acquire); record != nullptr; record = record->next) {
    // acquire (in seq_cst): partner is publish; what the guard's walk read, it read before what we do next.
    const std::uint64_t entered = record->entered.load(std::memory_order_seq_cst);
    if (entered != 0) limit = std::min(limit, entered);
  }
  return limit;
}

void wait_for_guard(Record& record, std::uint64_t before) {
  const auto ended = [&record, before] {
    const std::uint64_t entered = record.entered.load(std::memory_order_seq_cst);
    return entered == 0 || entered >= before;
  };
  if (ended()) return;
  // Either leave() sees this, or `ended` sees what leave() stored.
  record.awaited.fetch_add(1, std::memory_order_seq_cst);
  heavy_barrier();
  while (wait_until(&record, Deadline::never(), ended) != ParkOutcome::unparked) {
  }
  record.awaited.fetch_sub(1, std::memory_order_relaxed);
}

// Destroys what no guard can see any more.
void collect(Limbo& limbo) {
  const std::uint64_t safe_below = oldest_guard(begin_grace(limbo));
  std::vector<Retired> batch;
  {
    const MutexLock lock(limbo.mutex);
    const auto unsafe = std::partition(limbo.retired.begin(), limbo.retired.end(),
                                       [safe_below](const Retired& item) { return item.tag < safe_below; });
    batch.assign(limbo.retired.begin(), unsafe);
    limbo.retired.erase(limbo.retired.begin(), unsafe);
    // A reader that lasts holds objects back; looking again is worth it when as many have come as are held.
    limbo.collect_at = std::max(Limbo::kCollectAtLeast, 2 * limbo.retired.size());
    limbo.destroying.fetch_add(1, std::memory_order_relaxed);
  }
  for (const Retired& item : batch) item.destroy(item.object);
  // release: partner is the load in flush.
  if (limbo.destroying.fetch_sub(1, std::memory_order_release) == 1) wake(&limbo.destroying);
}

}  // namespace

namespace detail {

Record* register_thread() noexcept {
  initialize();
  own_record = take_record();
  const int failure = pthread_setspecific(thread_end_key, own_record);
  HF_CHECK(failure == 0, "a thread cannot be registered (errno {})", failure);
  return own_record;
}

void tell_end(Record* record) noexcept {
  wake(record);
  const auto run = std::exchange(record->run_outside, nullptr);
  if (run == nullptr) return;
  record->awaited.fetch_sub(1, std::memory_order_relaxed);
  run(record->outside_object);
}

}  // namespace detail

void retire(void* object, void (*destroy)(void*)) {
  Limbo& mine = limbo();
  bool full = false;
  {
    const MutexLock lock(mine.mutex);
    mine.retired.push_back({object, destroy, detail::current.word().load(std::memory_order_relaxed)});
    if (mine.retired.size() >= mine.collect_at) {
      full = true;
      mine.collect_at = 2 * mine.retired.size();  // one collector at a time is enough
    }
  }
  if (full) collect(mine);
}

void outside(void* object, void (*run)(void*)) {
  if (!inside()) return run(object);
  Record* const record = detail::own_record;
  HF_CHECK(record->run_outside == nullptr, "two things are to run at the end of one epoch guard");
  record->run_outside = run;
  record->outside_object = object;
  // relaxed: read by this thread, at the end of its guard.
  record->awaited.fetch_add(1, std::memory_order_relaxed);
}

void synchronize() {
  HF_CHECK(!inside(), "a thread waits for its own epoch guard");
  const std::uint64_t begun = begin_grace(limbo());
  for (Record* record = records.load(std::memory_order_acquire); record != nullptr; record = record->next) {
    wait_for_guard(*record, begun);
  }
}

void flush() {
  Limbo& mine = limbo();
  if (!inside()) synchronize();
  collect(mine);
  if (inside()) return;
  // acquire: partner is the decrement in collect.
  const auto none_destroying = [&mine] { return mine.destroying.load(std::memory_order_acquire) == 0; };
  while (wait_until(&mine.destroying, Deadline::never(), none_destroying) != ParkOutcome::unparked) {
  }
}

}  // namespace holdfast::epoch
