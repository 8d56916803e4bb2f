// Who holds what: one slot per pin, in tables of the threads that took them.
//
// A slot is 64 bytes, written by the thread that pins and read by whoever must name holders. The tables belong to the
// process, not to a device, so that releasing a pin after its count went down touches nothing that may be gone.
// Taking a slot is a pop of the thread's own free list; giving it back from another thread goes over a shared stack.
//
// A slot's life: free -> taking (identity written, count not yet verified) -> held -> free. Order at release: the slot
// becomes free before the count goes down, so an identity never outlives its count; a count without an identity is a
// taker or a releaser in progress, and a break that must not wait lets those finish (synchronize, then look again).
//
// A forked child forgets the tables: nothing is reported there, and slots that it inherited may still be released.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <holdfast/types.h>

#include "base/atomic.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/units.h"

namespace holdfast::pagemap {

// Which file: a number that is unique in this process for each mounted file system, and the inode.
struct FileKey {
  std::uint32_t filesystem = 0;
  std::uint32_t inode = 0;
  bool operator==(const FileKey&) const = default;
};

struct PinIdentity {
  FileKey file;
  std::uint64_t offset = 0;  // bytes in the file
  std::uint64_t length = 0;
  const char* purpose = "";  // static storage, or interned for the life of the process
  Nanoseconds deadline = Nanoseconds::max();
  Access access = Access::read;
  bool released_elsewhere = false;
};

// What a report shows of one held pin.
struct Holder {
  PinIdentity identity;
  Nanoseconds since{};  // monotonic
  std::int32_t pid = 0;
  std::int32_t tid = 0;
  std::string thread_name;
  bool this_thread = false;
};

struct PinTable;

// Invariants
//   T1  a slot that is not free belongs to its taker alone; identity is written only between the pop and `held`.
//   T2  the state carries a generation that grows whenever the slot becomes free. A reader that finds the same state
//       before and after reading the identity has read that of one pin: each store of identity is a release behind the
//       store that freed the slot, and each load of identity an acquire before the second look at the state.
struct alignas(64) PinSlot {
  Atomic<std::uint32_t> state;
  Atomic<std::uint32_t> tid;
  Atomic<std::uint64_t> file;  // inode, file system
  Atomic<std::uint64_t> offset;
  Atomic<std::uint64_t> length;
  Atomic<const char*> purpose;
  Atomic<std::int64_t> deadline;
  Atomic<std::int64_t> since;
  PinSlot* next_free = nullptr;  // of whoever holds the free slot's list

  // The state: what is below, and from kGeneration up the generation.
  static constexpr std::uint32_t kLifeMask = 3;
  static constexpr std::uint32_t kFree = 0;
  static constexpr std::uint32_t kTaking = 1;
  static constexpr std::uint32_t kHeld = 2;
  static constexpr std::uint32_t kWrites = 1U << 2;
  static constexpr std::uint32_t kReleasedElsewhere = 1U << 3;
  static constexpr std::uint32_t kGeneration = 1U << 4;
};
static_assert(sizeof(PinSlot) == 64, "64 bytes a pin");

// A slot of the calling thread in state `taking`, with the identity. nullptr: no memory.
PinSlot* take_slot(const PinIdentity& identity);
// taking -> held, since now (coarsely). By the thread that took it.
void confirm_slot(PinSlot* slot);
// -> free; any thread, once.
void release_slot(PinSlot* slot);

// Held pins that overlap [offset, offset + length) of the file, at most `limit`. Safe at any time, exact when quiet.
std::vector<Holder> holders_of(FileKey file, std::uint64_t offset, std::uint64_t length, std::size_t limit);
// Every held pin of a file system.
std::vector<Holder> holders_of_filesystem(std::uint32_t filesystem, std::size_t limit);
// Whether the calling thread holds a pin of the file (anywhere in it) that is not released_elsewhere.
bool this_thread_holds(FileKey file);
// Whether every held pin overlapping the range was taken by this thread and is not released_elsewhere, and there is at
// least one: waiting for them would never end.
bool only_this_thread_holds(FileKey file, std::uint64_t offset, std::uint64_t length);

// The slots of one thread. When the thread has ended and all its slots are free, a new thread takes the table over.
struct PinTable {
  PinSlot* free = nullptr;  // the thread's own list
  std::uint32_t tid = 0;
  struct PinChunk* filling = nullptr;     // its slots from `used` on were never taken
  PinTable* next = nullptr;               // in the process's list, which only grows
  Atomic<struct PinChunk*> chunks;        // newest first; only grows
  alignas(64) Atomic<PinSlot*> returned;  // freed by other threads
};

// Slots in one piece of memory that is aligned to its size, so that a slot finds its table.
struct alignas(64) PinChunk {
  static constexpr std::size_t kBytes = std::size_t{256} << 10;
  static constexpr std::uint32_t kSlots = kBytes / sizeof(PinSlot) - 1;

  PinTable* table = nullptr;
  PinChunk* next = nullptr;
  Atomic<std::uint32_t> used;  // slots [0, used) were taken at least once

  PinSlot* slots() { return reinterpret_cast<PinSlot*>(this + 1); }
  static PinChunk* of(PinSlot* slot) {
    return reinterpret_cast<PinChunk*>(reinterpret_cast<std::uintptr_t>(slot) & ~(kBytes - 1));
  }
};
static_assert(sizeof(PinChunk) == sizeof(PinSlot));

namespace detail {
extern constinit thread_local PinTable* own_table __attribute__((tls_model("initial-exec")));
// When the own list is empty: gives the thread its table, takes back what other threads freed, or grows.
PinSlot* take_slot_slowly();
void return_slot(PinTable& table, PinSlot* slot);
}  // namespace detail

[[gnu::always_inline]] inline PinSlot* take_slot(const PinIdentity& identity) {
  PinTable* const table = detail::own_table;
  PinSlot* slot = table == nullptr ? nullptr : table->free;
  if (__builtin_expect(slot != nullptr, 1)) {
    table->free = slot->next_free;
  } else {
    slot = detail::take_slot_slowly();
    if (slot == nullptr) return nullptr;
  }
  // Releases: T2. Partners: the loads in pin_holders.cc (read_slot).
  constexpr auto release = std::memory_order_release;
  slot->tid.store(detail::own_table->tid, release);
  slot->file.store(std::uint64_t{identity.file.inode} << 32 | identity.file.filesystem, release);
  slot->offset.store(identity.offset, release);
  slot->length.store(identity.length, release);
  slot->purpose.store(identity.purpose, release);
  slot->deadline.store(identity.deadline.count(), release);
  const std::uint32_t generation = slot->state.load(std::memory_order_relaxed);  // free: nothing else in it
  slot->state.store(generation | PinSlot::kTaking | (identity.access == Access::write ? PinSlot::kWrites : 0U) |
                        (identity.released_elsewhere ? PinSlot::kReleasedElsewhere : 0U),
                    release);
  return slot;
}

[[gnu::always_inline]] inline void confirm_slot(PinSlot* slot) {
  slot->since.store(monotonic_coarse_now().count(), std::memory_order_release);  // T2, as in take_slot
  const std::uint32_t state = slot->state.load(std::memory_order_relaxed);
  HF_DEBUG_CHECK((state & PinSlot::kLifeMask) == PinSlot::kTaking, "a pin slot in state {:#x} is confirmed", state);
  // release: partner is the first load in read_slot; who sees `held` sees this pin's identity.
  slot->state.store(state + (PinSlot::kHeld - PinSlot::kTaking), std::memory_order_release);
}

[[gnu::always_inline]] inline void release_slot(PinSlot* slot) {
  const std::uint32_t state = slot->state.load(std::memory_order_relaxed);
  HF_DEBUG_CHECK((state & PinSlot::kLifeMask) != PinSlot::kFree, "a pin slot in state {:#x} is released", state);
  slot->state.store((state & ~(PinSlot::kGeneration - 1)) + PinSlot::kGeneration, std::memory_order_release);
  PinTable* const table = PinChunk::of(slot)->table;
  if (__builtin_expect(table == detail::own_table, 1)) {
    // Mostly it is the one that was taken last, and still points there: a store less.
    if (slot->next_free != table->free) slot->next_free = table->free;
    table->free = slot;
  } else {
    detail::return_slot(*table, slot);
  }
}

}  // namespace holdfast::pagemap
