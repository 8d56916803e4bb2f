#include "support/sharing_store.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "base/epoch.h"
#include "layout/break_both.h"
#include "layout/final.h"
#include "mapping/hold.h"

namespace holdfast::test {

using layout::Break;
using layout::BreakOptions;
using mapping::Hold;
using mapping::Mapping;
using mapping::Sharing;

namespace {

constexpr std::uint64_t kNobodys = ~std::uint64_t{0};  // what a free block holds

PageRange page(std::uint64_t index) { return {PageIndex(index), PageIndex(index + 1)}; }

}  // namespace

// --- the store ---

SharingStore::SharingStore(std::uint64_t blocks)
    : map_(pagemap::PageMap::create(PageCount(blocks), nullptr).value()),
      counts_(blocks),
      contents_(blocks),
      quarantine_id_(map_->add_owner(quarantine_)) {
  for (std::uint64_t block = blocks; block-- > 0;) {
    contents_.at(block) = kNobodys;
    free_.emplace_back(block);
  }
}

SharingStore::~SharingStore() {
  reap();
  EXPECT_EQ(quarantined(), 0U) << "blocks are lost";
  EXPECT_EQ(free_blocks(), counts_.size());
  EXPECT_EQ(map_->references(), 0U) << "a page is still in use";
  map_->remove_owner(quarantine_id_);
}

std::uint64_t SharingStore::free_blocks() {
  const std::lock_guard lock(lock_);
  return free_.size();
}

std::uint64_t SharingStore::quarantined() {
  const std::lock_guard lock(lock_);
  return held_.size();
}

Pfn SharingStore::allocate() {
  const std::lock_guard lock(lock_);
  HF_CHECK(!free_.empty(), "the store is full");
  const Pfn block = free_.back();
  free_.pop_back();
  HF_CHECK(contents_.at(block.raw()).load() == kNobodys, "S1: block {} changed while it was free", block.raw());
  counts_.at(block.raw()) = 1;
  contents_.at(block.raw()) = 0;
  return block;
}

void SharingStore::free_block(Pfn block) {
  HF_CHECK(map_->refcount(block) == 0, "S1: block {} is freed with {} references", block.raw(), map_->refcount(block));
  contents_.at(block.raw()) = kNobodys;
  free_.push_back(block);
}

void SharingStore::count_out(Pfn block) {
  if (counts_.at(block.raw()).fetch_sub(1) != 1) return;
  const std::lock_guard lock(lock_);
  // The owner first, so that the last put is told here; then the look.
  if (map_->refcount(block) != 0 && map_->set_owner(block, kOrder4K, quarantine_id_, PageIndex(0)).refcount() != 0) {
    held_.push_back(block);
  } else {
    free_block(block);
  }
}

void SharingStore::reap() {
  const std::lock_guard lock(lock_);
  std::vector<Pfn> left;
  for (const Pfn block : held_) {
    if (map_->refcount(block) == 0) {
      free_block(block);
    } else {
      left.push_back(block);
    }
  }
  held_ = std::move(left);
}

// --- a file ---

SharedFile::SharedFile(SharingStore& store, std::uint32_t number)
    : store_(store), mapping_(*store.map_, *this, pagemap::FileKey{9, number}) {}

SharedFile::~SharedFile() {
  EXPECT_EQ(mapping_.check().value_or(""), "");
  layout::break_final(mapping_).tell();
  for (const auto& [index, block] : blocks_) store_.count_out(block);
}

void SharedFile::last_put(Pfn, Order) noexcept {}

std::optional<Pfn> SharedFile::block_at(std::uint64_t index) {
  const std::lock_guard lock(lock_);
  const auto found = blocks_.find(index);
  if (found == blocks_.end()) return std::nullopt;
  return found->second;
}

// What a fault does: an entry, and for a store a block that is this file's alone.
void SharedFile::fault(std::uint64_t index, Access access) {
  const std::lock_guard lock(lock_);
  const auto found = blocks_.find(index);
  Pfn block = found == blocks_.end() ? store_.allocate() : found->second;
  if (found == blocks_.end()) blocks_.emplace(index, block);
  const bool shared = store_.files_of(block) > 1;
  if (access == Access::write && shared) {
    // Nobody stores to a block that is shared, so the copy is exact. The old block stays with the others and with
    // those who have it pinned.
    const Pfn copy = store_.allocate();
    store_.contents_.at(copy.raw()) = store_.contents(block);
    mapping_.close_gate(page(index), std::chrono::seconds(60));
    static_cast<void>(mapping_.zap(page(index)));
    mapping_.remove(page(index));
    blocks_[index] = copy;
    mapping_.open_gate(page(index));
    store_.count_out(block);
    block = copy;
  }
  const bool still_shared = access == Access::read && shared;
  // Under the lock nobody else gets the block: what was shared and is not any more becomes our own.
  if (!still_shared && mapping_.lookup(PageIndex(index)).shared()) mapping_.make_own(page(index));
  const auto hold = Hold::enter(mapping_, page(index), Deadline::never());
  static_cast<void>(
      mapping_
          .insert(PageIndex(index), block, kOrder4K, Deadline::never(), still_shared ? Sharing::shared : Sharing::own)
          .value());
}

mapping::PinnedRun SharedFile::pin(std::uint64_t index, Access access) {
  for (;;) {
    mapping::PinnedRun run;
    Mapping::PinOutcome outcome{};
    {
      const epoch::Guard guard;
      outcome = mapping_.try_pin_unit(PageIndex(index), run, access).outcome;
    }
    if (outcome == Mapping::PinOutcome::pinned) return run;
    if (outcome != Mapping::PinOutcome::breaking) fault(index, access);
  }
}

std::optional<std::uint64_t> SharedFile::load(std::uint64_t index) {
  const std::lock_guard lock(lock_);
  const auto found = blocks_.find(index);
  if (found == blocks_.end()) return std::nullopt;
  return store_.contents(found->second);
}

void SharedFile::store(std::uint64_t index, std::uint64_t value) {
  const mapping::PinnedRun run = pin(index, Access::write);
  store_.contents_.at(run.first.raw()) = value;
  mapping::unpin(*store_.map_, run);
}

// False: stage 1 again.
bool SharedFile::take_blocks_out(Break& broken, PageRange range, OnPinned on_pinned) {
  const std::lock_guard lock(lock_);
  const auto from = blocks_.lower_bound(range.first.raw());
  const auto to = blocks_.lower_bound(range.end.raw());
  if (on_pinned != OnPinned::detach) {
    // The last file that has a block waits for its pins, whoever took them.
    for (auto at = from; at != to; ++at) {
      const PageIndex index(at->first);
      if (mapping_.lookup(index).shared() && store_.files_of(at->second) == 1) mapping_.make_own(page(at->first));
    }
  }
  std::optional<layout::Commit> commit = broken.commit();
  if (!commit) return false;
  std::vector<Pfn> gone;
  for (auto at = from; at != to; ++at) gone.push_back(at->second);
  blocks_.erase(from, to);
  commit->remove_entries();
  for (const Pfn block : gone) store_.count_out(block);
  return true;
}

int SharedFile::truncate(std::uint64_t first, OnPinned on_pinned, Deadline deadline) {
  const PageRange range{PageIndex(first), kEndOfFile};
  Result<Break> broken = Break::wait(mapping_, range, {on_pinned, deadline});
  if (!broken) return broken.error().code();
  while (!take_blocks_out(*broken, range, on_pinned)) {
    if (const Status again = broken->again_wait(); !again) return again.error().code();
  }
  return 0;
}

int SharedFile::clone(SharedFile& from, std::uint64_t first, std::uint64_t count, std::uint64_t at) {
  const PageRange source{PageIndex(first), PageIndex(first + count)};
  const PageRange target{PageIndex(at), PageIndex(at + count)};
  Result<std::pair<Break, Break>> broken =
      layout::break_both({&from.mapping_, source}, {&mapping_, target}, BreakOptions{});
  if (!broken) return broken.error().code();
  // Our own blocks go first; the marks stay, so that nobody pins in between.
  while (!take_blocks_out(broken->second, target, OnPinned::wait)) {
    if (const Status again = broken->second.again_wait(); !again) return again.error().code();
  }
  for (;;) {
    {
      const std::scoped_lock locks(lock_, from.lock_);
      // Entries of the source go, too: those that come back know that the block is shared.
      if (std::optional<layout::Commit> commit = broken->first.commit()) {
        commit->remove_entries();
        for (std::uint64_t i = 0; i < count; ++i) {
          const auto block = from.blocks_.find(first + i);
          if (block == from.blocks_.end()) continue;
          store_.counts_.at(block->second.raw()).fetch_add(1);
          blocks_[at + i] = block->second;
        }
        return 0;
      }
    }
    if (const Status again = broken->first.again_wait(); !again) return again.error().code();
  }
}

}  // namespace holdfast::test
