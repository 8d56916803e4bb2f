#include "pagemap/pin_table.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <mutex>
#include <new>

#include "base/fault_point.h"
#include "base/fork.h"
#include "pagemap/pin_table_registry.h"

namespace holdfast::pagemap {

namespace detail {
constinit thread_local PinTable* own_table = nullptr;
}  // namespace detail

namespace {

Atomic<PinTableRegistry*> registry_of_process;
pthread_key_t thread_end_key;
std::once_flag initialized;

void end_table(void* value);

// What the parent's threads held is not the child's to report, and their lists may be half changed.
void forget_tables() {
  detail::own_table = nullptr;
  pthread_setspecific(thread_end_key, nullptr);
  registry_of_process.store(new PinTableRegistry, std::memory_order_release);
}

std::size_t count_free(const PinTable& table) {
  std::size_t count = 0;
  for (const PinSlot* slot = table.free; slot != nullptr; slot = slot->next_free) ++count;
  return count;
}

std::size_t count_taken_once(PinTable& table) {
  std::size_t count = 0;
  for (PinChunk* chunk = table.chunks.word().load(std::memory_order_relaxed); chunk != nullptr; chunk = chunk->next) {
    count += chunk->used.word().load(std::memory_order_relaxed);
  }
  return count;
}

// Takes back what other threads freed; returns how many.
std::size_t take_back(PinTable& table) {
  // acquire: partner is the exchange in return_slot. Emptied at once, so that no slot can come back to the top of the
  // stack behind a pusher's back.
  PinSlot* const first = table.returned.word().exchange(nullptr, std::memory_order_acquire);
  if (first == nullptr) return 0;
  std::size_t count = 1;
  PinSlot* last = first;
  for (; last->next_free != nullptr; last = last->next_free) ++count;
  last->next_free = table.free;
  table.free = first;
  return count;
}

void end_table(void* value) {
  auto* const table = static_cast<RegisteredTable*>(value);
  const MutexLock lock(PinTableRegistry::of_process().mutex);
  detail::own_table = nullptr;
  static_cast<void>(pthread_getname_np(pthread_self(), table->name.data(), table->name.size()));
  table->missing = count_taken_once(*table) - count_free(*table);
  table->ended = true;
}

// A table whose thread has ended and whose slots are all free, for the calling thread.
RegisteredTable* adopt_table(PinTableRegistry& of) HF_REQUIRES(of.mutex) {
  for (PinTable* each = of.tables.word().load(std::memory_order_relaxed); each != nullptr; each = each->next) {
    auto* const table = static_cast<RegisteredTable*>(each);
    if (!table->ended) continue;
    table->missing -= take_back(*table);
    if (table->missing == 0) return table;
  }
  return nullptr;
}

PinTable* give_thread_a_table() {
  PinTableRegistry& of = PinTableRegistry::of_process();
  const MutexLock lock(of.mutex);
  RegisteredTable* table = adopt_table(of);
  if (table == nullptr) {
    table = new (std::nothrow) RegisteredTable;
    if (table == nullptr) return nullptr;
    table->next = of.tables.word().load(std::memory_order_relaxed);
    // release: partner is the load in visit_process.
    of.tables.word().store(table, std::memory_order_release);
  }
  table->ended = false;
  table->tid = static_cast<std::uint32_t>(gettid());
  static_cast<void>(pthread_getname_np(pthread_self(), table->name.data(), table->name.size()));
  const int failure = pthread_setspecific(thread_end_key, table);
  HF_CHECK(failure == 0, "a thread cannot be registered (errno {})", failure);
  detail::own_table = table;
  return table;
}

// Zeroed memory of kBytes, aligned to its size; what is never used costs address space only.
void* map_chunk() {
  if (HF_FAULT_POINT("pin_table.grow")) return nullptr;
  constexpr std::size_t kBytes = PinChunk::kBytes;
  void* const mapped =
      mmap(nullptr, 2 * kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  const auto start = reinterpret_cast<std::uintptr_t>(mapped);
  const std::size_t before = (kBytes - start % kBytes) % kBytes;
  char* const aligned = static_cast<char*>(mapped) + before;
  if (before != 0) munmap(mapped, before);
  munmap(aligned + kBytes, kBytes - before);
  return aligned;
}

bool grow(PinTable& table) {
  void* const memory = map_chunk();
  if (memory == nullptr) return false;
  PinChunk* const chunk = new (memory) PinChunk;
  chunk->table = &table;
  chunk->next = table.chunks.load(std::memory_order_relaxed);
  table.filling = chunk;
  // release: partner is the load in visit_process.
  table.chunks.store(chunk, std::memory_order_release);
  return true;
}

}  // namespace

PinTableRegistry& PinTableRegistry::of_process() {
  std::call_once(initialized, [] {
    const int failure = pthread_key_create(&thread_end_key, end_table);
    HF_CHECK(failure == 0, "no thread-specific key for pin tables (errno {})", failure);
    registry_of_process.store(new PinTableRegistry, std::memory_order_release);
    on_fork_in_child(forget_tables);
  });
  return *registry_of_process.load(std::memory_order_acquire);
}

namespace detail {

PinSlot* take_slot_slowly() {
  PinTable* table = own_table;
  if (table == nullptr) {
    table = give_thread_a_table();
    if (table == nullptr) return nullptr;
  }
  if (table->free == nullptr) take_back(*table);
  if (PinSlot* const slot = table->free; slot != nullptr) {
    table->free = slot->next_free;
    return slot;
  }
  if (table->filling == nullptr || table->filling->used.load(std::memory_order_relaxed) == PinChunk::kSlots) {
    if (!grow(*table)) return nullptr;
  }
  PinChunk& chunk = *table->filling;
  const std::uint32_t position = chunk.used.load(std::memory_order_relaxed);
  PinSlot* const slot = new (chunk.slots() + position) PinSlot;
  // release: partner is the load in visit_table.
  chunk.used.store(position + 1, std::memory_order_release);
  return slot;
}

void return_slot(PinTable& table, PinSlot* slot) {
  PinSlot* top = table.returned.load(std::memory_order_relaxed);
  do {
    slot->next_free = top;
    // release: partner is the exchange in take_back.
  } while (!table.returned.compare_exchange_weak(top, slot, std::memory_order_release));
}

}  // namespace detail

}  // namespace holdfast::pagemap
