#include "pagemap/owner_table.h"

#include "base/check.h"
#include "base/epoch.h"

namespace holdfast::pagemap {
namespace {

// A slot rests until so many others were freed after it; with 255 generations an id then repeats no sooner than after
// a million removals.
constexpr std::size_t kRestingSlots = 4096;

}  // namespace

OwnerTable::~OwnerTable() {
  for (Atomic<Chunk*>& chunk : chunks_) delete chunk.load(std::memory_order_relaxed);
}

OwnerTable::Slot* OwnerTable::slot(std::uint32_t number) const {
  // acquire: partner is the store in add.
  Chunk* const chunk = chunks_[number / kChunkSlots].load(std::memory_order_acquire);
  return chunk == nullptr ? nullptr : &(*chunk)[number % kChunkSlots];
}

OwnerId OwnerTable::add(PageOwner& owner) {
  const MutexLock lock(mutex_);
  std::uint32_t number = 0;
  if (free_.size() > kRestingSlots || used_ == kMaxOwners) {
    HF_CHECK(!free_.empty(), "more than {} owners", kMaxOwners);
    number = free_.front();
    free_.pop_front();
  } else {
    number = used_++;
    if (number % kChunkSlots == 0) {
      // release: partner is the load in slot().
      chunks_[number / kChunkSlots].word().store(new Chunk, std::memory_order_release);
    }
  }
  Slot& mine = (*chunks_[number / kChunkSlots].word().load(std::memory_order_relaxed))[number % kChunkSlots];
  mine.generation = mine.generation % 255 + 1;  // never 0, so that no id is 0
  const OwnerId id = mine.generation << kSlotBits | number;
  mine.owner.word().store(&owner, std::memory_order_relaxed);
  // release: partner is the load in find.
  mine.id.word().store(id, std::memory_order_release);
  return id;
}

void OwnerTable::remove(OwnerId id) {
  const std::uint32_t number = id & (kMaxOwners - 1);
  Slot* const gone = slot(number);
  HF_CHECK(gone != nullptr, "owner {:#x} was never added", id);
  // seq_cst: synchronize's barrier follows; partner is find, inside an epoch.
  const OwnerId had = gone->id.exchange(0, std::memory_order_seq_cst);
  HF_CHECK(had == id, "owner {:#x} is removed, but its slot names {:#x}", id, had);
  epoch::synchronize();
  const MutexLock lock(mutex_);
  free_.push_back(number);
}

PageOwner* OwnerTable::find(OwnerId id) const {
  HF_DEBUG_CHECK(epoch::inside(), "owner {:#x} is looked up outside of an epoch", id);
  const Slot* const named = slot(id & (kMaxOwners - 1));
  // acquire: partner is the store in add. A slot is given out anew only after this epoch, so the owner fits the id.
  if (id == 0 || named == nullptr || named->id.load(std::memory_order_acquire) != id) return nullptr;
  return named->owner.load(std::memory_order_relaxed);
}

}  // namespace holdfast::pagemap
