#include "mapping/hold.h"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <mutex>

#include "base/check.h"
#include "base/fork.h"
#include "base/mark.h"
#include "base/wait_queue.h"
#include "mapping/mapping.h"

namespace holdfast::mapping {
namespace {

// The slots of one thread. Tables are adopted by later threads and never freed, so that a closer may walk them without
// a lock and LastingHolds may keep pointers.
struct Table {
  std::array<HoldSlot, Hold::kNested> slots;
  Atomic<bool> taken;
  Table* next = nullptr;
};

Atomic<Table*> all_tables;  // pushed to, never popped from

constinit thread_local Table* own_table = nullptr;

pthread_key_t thread_end_key;

// A hold that was moved to another thread may outlive this one; its slot stays busy in the table and is passed over.
//
// A key's destructor runs after those of thread_local objects, which may still copy; and again, with a table of its
// own, if one of another key did. Test: HoldTest.AnObjectThatEndsWithItsThreadMayStillHold.
void give_back(void* value) {
  own_table = nullptr;
  // release: partner is the acquire in adopt_table.
  static_cast<Table*>(value)->taken.store(false, std::memory_order_release);
}

// In a forked child only the calling thread exists; the holds of the others will never end.
void forget_other_threads() {
  for (Table* table = all_tables.load(std::memory_order_relaxed); table != nullptr; table = table->next) {
    if (table == own_table) continue;
    for (HoldSlot& slot : table->slots) slot.word.store(0, std::memory_order_relaxed);
    table->taken.store(false, std::memory_order_relaxed);
  }
}

Table* adopt_table() {
  static std::once_flag registered;
  std::call_once(registered, [] {
    const int failure = pthread_key_create(&thread_end_key, give_back);
    HF_CHECK(failure == 0, "no thread-specific key for holds (errno {})", failure);
    on_fork_in_child(forget_other_threads);
  });
  // acquire: partner is the release in push.
  for (Table* table = all_tables.load(std::memory_order_acquire); table != nullptr; table = table->next) {
    // acquire: partner is the release in give_back.
    if (!table->taken.exchange(true, std::memory_order_acquire)) return table;
  }
  Table* const table = new Table;
  table->taken.store(true, std::memory_order_relaxed);
  Table* head = all_tables.load(std::memory_order_relaxed);
  do {
    table->next = head;
    // seq_cst: a closer that closes its gate before this push is seen by the new thread's first hold.
  } while (!all_tables.compare_exchange_weak(head, table, std::memory_order_seq_cst));
  return table;
}

[[gnu::noinline]] Table& first_table() {
  own_table = adopt_table();
  const int failure = pthread_setspecific(thread_end_key, own_table);
  HF_CHECK(failure == 0, "a thread cannot be registered (errno {})", failure);
  return *own_table;
}

std::uint64_t word_of(const Mapping& mapping) { return reinterpret_cast<std::uint64_t>(&mapping); }

// Calls visit(slot, generation, range) for each hold of `mapping` in `table` that overlaps `range`. What is seen may be
// a mixture of a hold that has ended and one that came later: the first need not be waited for, and the second, if it
// came after the gate closed, steps back by itself. So a mixture can only lead to one look too many.
template <typename Visit>
void visit_table(Table& table, std::uint64_t mapping, PageRange range, Visit visit) {
  for (HoldSlot& slot : table.slots) {
    // seq_cst: partner is the store of word in Hold::publish; the closer's store is the one to closed_gates_.
    const std::uint64_t word = slot.word.load(std::memory_order_seq_cst);
    if ((word & ~HoldSlot::kFlags) != mapping) continue;
    const std::uint64_t generation = slot.generation.load(std::memory_order_acquire);
    const PageRange held{PageIndex(slot.first.load(std::memory_order_acquire)),
                         PageIndex(slot.end.load(std::memory_order_acquire))};
    if (held.overlaps(range)) visit(slot, generation, held, word);
  }
}

template <typename Visit>
void visit_all(const Mapping& mapping, PageRange range, Visit visit) {
  // seq_cst: partner is the push in adopt_table.
  for (Table* table = all_tables.load(std::memory_order_seq_cst); table != nullptr; table = table->next) {
    visit_table(*table, word_of(mapping), range, visit);
  }
}

bool has_ended(const HoldSlot& slot, std::uint64_t generation) {
  // acquire: partners are the exchange in leave and the store in publish. A word of a later hold is seen only with the
  // later generation, which was stored before it.
  return slot.word.load(std::memory_order_acquire) == 0 ||
         slot.generation.load(std::memory_order_acquire) != generation;
}

}  // namespace

HoldSlot& Hold::publish(const Mapping& mapping, PageRange range) {
  Table& table = own_table != nullptr ? *own_table : first_table();
  for (HoldSlot& slot : table.slots) {
    if (slot.word.load(std::memory_order_acquire) != 0) continue;
    slot.generation.store(slot.generation.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    slot.first.store(range.first.raw(), std::memory_order_relaxed);
    slot.end.store(range.end.raw(), std::memory_order_relaxed);
    // seq_cst: partner is the load of word in visit_table. What follows is the load of closed_gates_.
    slot.word.store(word_of(mapping), std::memory_order_seq_cst);
    return slot;
  }
  HF_CHECK(false, "a thread has more than {} holds", kNested);
  __builtin_unreachable();
}

bool Hold::leave(HoldSlot& slot) {
  // seq_cst: releases what was done under the hold, and either finds the question or lets the asker find 0.
  const std::uint64_t word = slot.word.exchange(0, std::memory_order_seq_cst);
  HF_MARK("mapping.hold.left");
  if ((word & HoldSlot::kAsked) != 0) wake(hold_ended_key());
  return (word & HoldSlot::kOverrun) != 0;
}

std::optional<Hold> Hold::try_enter(Mapping& mapping, PageRange range) {
  HoldSlot& slot = publish(mapping, range);
  HF_MARK("mapping.hold.published");
  // seq_cst: partner is the increment in close_gate.
  if (mapping.closed_gates_.load(std::memory_order_seq_cst) == 0) return Hold(slot);
  if (!mapping.gate_closed(range) || HoldTables::this_thread_holds(mapping, range, &slot)) return Hold(slot);
  static_cast<void>(leave(slot));
  return std::nullopt;
}

std::optional<Hold> Hold::enter(Mapping& mapping, PageRange range, Deadline deadline) {
  for (;;) {
    if (auto hold = try_enter(mapping, range)) return hold;
    HF_MARK("mapping.hold.waits");
    const ParkOutcome outcome = wait_until(mapping.break_key(), deadline, [&] { return !mapping.gate_closed(range); });
    if (outcome != ParkOutcome::unparked) return std::nullopt;
  }
}

bool Hold::end() {
  HoldSlot& slot = *slot_;
  slot_ = nullptr;
  return leave(slot);
}

bool Hold::overrun() const {
  // seq_cst: partner is the flag set in HoldTables::collect, before the commit removes translations.
  return (slot_->word.load(std::memory_order_seq_cst) & HoldSlot::kOverrun) != 0;
}

bool LastingHolds::ended() const {
  return std::all_of(holds_.begin(), holds_.end(),
                     [](const Seen& seen) { return has_ended(*seen.slot, seen.generation); });
}

bool LastingHolds::cover(PageIndex index) const {
  return std::any_of(holds_.begin(), holds_.end(), [index](const Seen& seen) { return seen.range.contains(index); });
}

const void* hold_ended_key() {
  static constexpr char kKey = 0;
  return &kKey;
}

LastingHolds HoldTables::collect(const Mapping& mapping, PageRange range, std::uint64_t flags) {
  LastingHolds result;
  visit_all(mapping, range, [&](HoldSlot& slot, std::uint64_t generation, PageRange held, std::uint64_t word) {
    HF_MARK("mapping.hold.found");
    while ((word & flags) != flags) {
      // seq_cst: partner is the exchange in leave.
      if (slot.word.compare_exchange_weak(word, word | flags, std::memory_order_seq_cst)) break;
      if ((word & ~HoldSlot::kFlags) != word_of(mapping)) return;  // it ended
    }
    // The flag is on the hold that was read, if the generation is the same on both sides; on a later one it does no
    // harm: one wake too many, or an overrun that its thread takes as a reason to look again.
    if (has_ended(slot, generation)) return;
    result.holds_.push_back({&slot, generation, held});
  });
  return result;
}

LastingHolds HoldTables::lasting(const Mapping& mapping, PageRange range) {
  return collect(mapping, range, HoldSlot::kAsked);
}

LastingHolds HoldTables::overrun(const Mapping& mapping, PageRange range) {
  return collect(mapping, range, HoldSlot::kFlags);
}

bool HoldTables::any(const Mapping& mapping, PageRange range) {
  bool found = false;
  visit_all(mapping, range, [&](HoldSlot&, std::uint64_t, PageRange, std::uint64_t) { found = true; });
  return found;
}

bool HoldTables::this_thread_overrun(const Mapping& mapping, PageRange range) {
  bool found = false;
  if (own_table == nullptr) return found;
  visit_table(*own_table, word_of(mapping), range, [&](HoldSlot&, std::uint64_t, PageRange, std::uint64_t word) {
    found = found || (word & HoldSlot::kOverrun) != 0;
  });
  return found;
}

bool HoldTables::this_thread_holds(const Mapping& mapping, PageRange range, const HoldSlot* except) {
  bool found = false;
  if (own_table == nullptr) return found;
  visit_table(*own_table, word_of(mapping), range, [&](const HoldSlot& slot, std::uint64_t, PageRange held, auto) {
    found = found || (&slot != except && held.first <= range.first && range.end <= held.end);
  });
  return found;
}

}  // namespace holdfast::mapping
