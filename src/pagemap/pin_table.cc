#include "pagemap/pin_table.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <limits>
#include <mutex>
#include <new>
#include <optional>
#include <string_view>

#include "base/fault_point.h"
#include "base/fork.h"
#include "base/mark.h"
#include "base/mutex.h"

namespace holdfast::pagemap {

namespace detail {
constinit thread_local PinTable* own_table = nullptr;
}  // namespace detail

namespace {

using ThreadName = std::array<char, 16>;  // as the kernel keeps it, with the 0

// A table with what only registration, adoption and reports need.
struct RegisteredTable : PinTable {
  // The following are guarded by the registry's mutex.
  ThreadName name{};
  bool ended = false;
  std::size_t missing = 0;  // once ended: slots taken and not yet seen to be returned
};

// The tables of this process.
struct Registry {
  Mutex mutex{LockRank::pin_table};
  Atomic<PinTable*> tables;  // pushed to under the mutex, walked without it, never popped from
};

Atomic<Registry*> registry_of_process;
pthread_key_t thread_end_key;
std::once_flag initialized;

void end_table(void* value);

// What the parent's threads held is not the child's to report, and their lists may be half changed.
void forget_tables() {
  detail::own_table = nullptr;
  pthread_setspecific(thread_end_key, nullptr);
  registry_of_process.store(new Registry, std::memory_order_release);
}

Registry& registry() {
  std::call_once(initialized, [] {
    const int failure = pthread_key_create(&thread_end_key, end_table);
    HF_CHECK(failure == 0, "no thread-specific key for pin tables (errno {})", failure);
    registry_of_process.store(new Registry, std::memory_order_release);
    on_fork_in_child(forget_tables);
  });
  return *registry_of_process.load(std::memory_order_acquire);
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
  const MutexLock lock(registry().mutex);
  detail::own_table = nullptr;
  static_cast<void>(pthread_getname_np(pthread_self(), table->name.data(), table->name.size()));
  table->missing = count_taken_once(*table) - count_free(*table);
  table->ended = true;
}

// A table whose thread has ended and whose slots are all free, for the calling thread.
RegisteredTable* adopt_table(Registry& of) HF_REQUIRES(of.mutex) {
  for (PinTable* each = of.tables.word().load(std::memory_order_relaxed); each != nullptr; each = each->next) {
    auto* const table = static_cast<RegisteredTable*>(each);
    if (!table->ended) continue;
    table->missing -= take_back(*table);
    if (table->missing == 0) return table;
  }
  return nullptr;
}

PinTable* give_thread_a_table() {
  Registry& of = registry();
  const MutexLock lock(of.mutex);
  RegisteredTable* table = adopt_table(of);
  if (table == nullptr) {
    table = new (std::nothrow) RegisteredTable;
    if (table == nullptr) return nullptr;
    table->next = of.tables.word().load(std::memory_order_relaxed);
    // release: partner is the load in for_each_held.
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
  // release: partner is the load in for_each_held.
  table.chunks.store(chunk, std::memory_order_release);
  return true;
}

// A held pin as a scan finds it.
struct HeldPin {
  PinIdentity identity;
  Nanoseconds since{};
  std::uint32_t tid = 0;
  PinTable* table = nullptr;

  bool this_thread() const { return table == detail::own_table; }
};

// What the slot shows, if it is held and stays so while it is read.
std::optional<HeldPin> read_slot(const PinSlot& slot) {
  // acquire: partner is confirm_slot. The acquires that follow: T2.
  const std::uint32_t state = slot.state.load(std::memory_order_acquire);
  if ((state & PinSlot::kLifeMask) != PinSlot::kHeld) return std::nullopt;
  constexpr auto acquire = std::memory_order_acquire;
  HeldPin pin;
  pin.tid = slot.tid.load(acquire);
  const std::uint64_t file = slot.file.load(acquire);
  pin.identity.file = {static_cast<std::uint32_t>(file >> 32), static_cast<std::uint32_t>(file)};
  HF_MARK("pin_table.reading");
  pin.identity.offset = slot.offset.load(acquire);
  pin.identity.length = slot.length.load(acquire);
  pin.identity.purpose = slot.purpose.load(acquire);
  pin.identity.deadline = Nanoseconds(slot.deadline.load(acquire));
  pin.since = Nanoseconds(slot.since.load(acquire));
  if (slot.state.load(std::memory_order_relaxed) != state) return std::nullopt;
  pin.identity.access = (state & PinSlot::kWrites) != 0 ? Access::write : Access::read;
  pin.identity.released_elsewhere = (state & PinSlot::kReleasedElsewhere) != 0;
  return pin;
}

// Calls visit(pin) for every held pin of the table until it returns false.
template <typename Visit>
bool visit_table(PinTable& table, const Visit& visit) {
  for (PinChunk* chunk = table.chunks.load(std::memory_order_acquire); chunk != nullptr; chunk = chunk->next) {
    // acquire: partner is the store in take_slot_slowly.
    const std::uint32_t used = chunk->used.load(std::memory_order_acquire);
    for (std::uint32_t position = 0; position < used; ++position) {
      std::optional<HeldPin> pin = read_slot(chunk->slots()[position]);
      if (!pin) continue;
      pin->table = &table;
      if (!visit(*pin)) return false;
    }
  }
  return true;
}

template <typename Visit>
void visit_process(const Visit& visit) {
  for (PinTable* table = registry().tables.load(std::memory_order_acquire); table != nullptr; table = table->next) {
    if (!visit_table(*table, visit)) return;
  }
}

bool overlaps(const PinIdentity& pin, std::uint64_t offset, std::uint64_t length) {
  const auto end = [](std::uint64_t from, std::uint64_t count) {
    return count > std::numeric_limits<std::uint64_t>::max() - from ? std::numeric_limits<std::uint64_t>::max()
                                                                    : from + count;
  };
  return pin.offset < end(offset, length) && offset < end(pin.offset, pin.length);
}

// A thread may change its name at any time: the kernel knows the current one as long as the thread lives.
std::optional<std::string> current_name(std::uint32_t tid) {
  const int file = open(fmt::format("/proc/self/task/{}/comm", tid).c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return std::nullopt;
  ThreadName name{};
  const ssize_t length = read(file, name.data(), name.size());
  close(file);
  if (length <= 0) return std::nullopt;
  return std::string(name.data(), static_cast<std::size_t>(length - 1));  // without the line's end
}

std::string name_of_taker(const HeldPin& pin) {
  std::string recorded;
  bool lives = false;
  {
    const MutexLock lock(registry().mutex);
    const auto& table = static_cast<const RegisteredTable&>(*pin.table);
    if (table.tid != pin.tid) return {};  // released since, and the table has another thread
    recorded = table.name.data();
    lives = !table.ended;
  }
  return lives ? current_name(pin.tid).value_or(recorded) : recorded;
}

std::vector<Holder> describe(const std::vector<HeldPin>& pins) {
  std::vector<Holder> holders;
  holders.reserve(pins.size());
  for (const HeldPin& pin : pins) {
    holders.push_back({.identity = pin.identity,
                       .since = pin.since,
                       .pid = getpid(),
                       .tid = static_cast<std::int32_t>(pin.tid),
                       .thread_name = name_of_taker(pin),
                       .this_thread = pin.this_thread()});
  }
  return holders;
}

template <typename Matches>
std::vector<Holder> holders_that(const Matches& matches, std::size_t limit) {
  std::vector<HeldPin> found;
  if (limit == 0) return {};
  visit_process([&](const HeldPin& pin) {
    if (matches(pin.identity)) found.push_back(pin);
    return found.size() < limit;
  });
  return describe(found);
}

}  // namespace

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

std::vector<Holder> holders_of(FileKey file, std::uint64_t offset, std::uint64_t length, std::size_t limit) {
  return holders_that([=](const PinIdentity& pin) { return pin.file == file && overlaps(pin, offset, length); }, limit);
}

std::vector<Holder> holders_of_filesystem(std::uint32_t filesystem, std::size_t limit) {
  return holders_that([=](const PinIdentity& pin) { return pin.file.filesystem == filesystem; }, limit);
}

bool this_thread_holds(FileKey file) {
  if (detail::own_table == nullptr) return false;
  return !visit_table(*detail::own_table, [file](const HeldPin& pin) {
    return pin.identity.file != file || pin.identity.released_elsewhere;
  });
}

bool only_this_thread_holds(FileKey file, std::uint64_t offset, std::uint64_t length) {
  bool any = false;
  bool only = true;
  visit_process([&](const HeldPin& pin) {
    if (pin.identity.file != file || !overlaps(pin.identity, offset, length)) return true;
    any = true;
    only = pin.this_thread() && !pin.identity.released_elsewhere;
    return only;
  });
  return any && only;
}

}  // namespace holdfast::pagemap
