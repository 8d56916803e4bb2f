#include "ext4/block_cache.h"

#include <algorithm>
#include <cerrno>
#include <unordered_set>
#include <vector>

#include "base/check.h"
#include "base/fault_point.h"
#include "base/trace.h"
#include "device/copy.h"
#include "ext4/journal_replay.h"

namespace holdfast::ext4 {
namespace {

constexpr std::size_t kFirstBuckets = 1024;
constexpr std::size_t kSparesMax = 256;

bool same_family(BlockKind a, BlockKind b) {
  const auto of_directory = [](BlockKind kind) {
    return kind == BlockKind::directory || kind == BlockKind::hash_tree_node;
  };
  return of_directory(a) && of_directory(b);
}

}  // namespace

struct BlockCache::Parts {
  Parts(device::Device& on, Verify verify_with, Seal seal_with)
      : device(on), verify(std::move(verify_with)), seal(std::move(seal_with)) {}

  device::Device& device;
  Verify verify;
  Seal seal;
  const ReplayedBlocks* replayed = nullptr;
  std::vector<CachedBlock*> buckets = std::vector<CachedBlock*>(kFirstBuckets);
  std::size_t count = 0;
  std::vector<CachedBlock*> dirty;
  std::vector<CachedBlock*> logged;
  std::unordered_set<std::uint64_t> revoked;
  std::vector<CachedBlock*> forgotten;
  std::vector<std::unique_ptr<CachedBlock>> spares;
  std::uint64_t clock = 0;
  std::uint64_t modifications = 0;

  std::size_t bucket_of(std::uint64_t number) const {
    // Fibonacci hashing; the number of buckets is a power of two.
    return static_cast<std::size_t>((number * 0x9e3779b97f4a7c15u) >> 32) & (buckets.size() - 1);
  }

  CachedBlock* find(std::uint64_t number) {
    for (CachedBlock* block = buckets[bucket_of(number)]; block != nullptr; block = block->next) {
      if (block->number == number) {
        block->last_used = ++clock;
        return block;
      }
    }
    return nullptr;
  }

  std::unique_ptr<CachedBlock> take_spare() {
    if (spares.empty()) return std::unique_ptr<CachedBlock>(new CachedBlock);
    std::unique_ptr<CachedBlock> block = std::move(spares.back());
    spares.pop_back();
    return block;
  }

  void keep_spare(std::unique_ptr<CachedBlock> block) {
    if (spares.size() < kSparesMax) spares.push_back(std::move(block));
  }

  std::unique_ptr<CachedBlock> prepare(std::uint64_t number, BlockKind kind, std::uint32_t owner_seed) {
    std::unique_ptr<CachedBlock> block = take_spare();
    block->number = number;
    block->kind = kind;
    block->dirty = false;
    block->logged = false;
    block->forgotten = false;
    block->references = 0;
    block->owner_seed = owner_seed;
    block->last_used = ++clock;
    return block;
  }

  CachedBlock* insert(std::unique_ptr<CachedBlock> block) {
    if (count >= buckets.size()) grow();
    CachedBlock* raw_block = block.release();
    CachedBlock*& head = buckets[bucket_of(raw_block->number)];
    raw_block->next = head;
    head = raw_block;
    ++count;
    return raw_block;
  }

  void grow() {
    std::vector<CachedBlock*> old(buckets.size() * 2);
    old.swap(buckets);
    for (CachedBlock* block : old) {
      while (block != nullptr) {
        CachedBlock* next = block->next;
        CachedBlock*& head = buckets[bucket_of(block->number)];
        block->next = head;
        head = block;
        block = next;
      }
    }
  }

  std::unique_ptr<CachedBlock> unlink(CachedBlock* block) {
    CachedBlock** link = &buckets[bucket_of(block->number)];
    while (*link != block) link = &(*link)->next;
    *link = block->next;
    --count;
    return std::unique_ptr<CachedBlock>(block);
  }

  void make_clean(CachedBlock* block) {
    HF_DEBUG_CHECK(dirty[block->dirty_index] == block, "C2: block {} at {}", block->number, block->dirty_index);
    dirty[block->dirty_index] = dirty.back();
    dirty[block->dirty_index]->dirty_index = block->dirty_index;
    dirty.pop_back();
    block->dirty = false;
  }

  void make_unlogged(CachedBlock* block) {
    HF_DEBUG_CHECK(logged[block->logged_index] == block, "C4: block {} at {}", block->number, block->logged_index);
    logged[block->logged_index] = logged.back();
    logged[block->logged_index]->logged_index = block->logged_index;
    logged.pop_back();
    block->logged = false;
  }

  void sort_dirty() {
    std::sort(dirty.begin(), dirty.end(),
              [](const CachedBlock* a, const CachedBlock* b) { return a->number < b->number; });
    for (std::size_t i = 0; i < dirty.size(); ++i) dirty[i]->dirty_index = static_cast<std::uint32_t>(i);
  }

  device::CopyOutcome load(std::byte* to, std::uint64_t number) const {
    const std::byte* const from = replayed != nullptr ? replayed->find(number) : nullptr;
    if (from == nullptr && device.poison().first_in({Pfn(number), PageCount(1)})) return device::CopyOutcome::bus_error;
    const device::CopyOutcome copied = device::copy(to, from != nullptr ? from : device.at(Pfn(number)), kBlockBytes);
    if (copied != device::CopyOutcome::done) device.learn_of(device::last_bus_error());
    return copied;
  }

  // Frees the copies of forgotten blocks that nobody refers to any more.
  void sweep_forgotten() {
    std::erase_if(forgotten, [this](CachedBlock* block) {
      if (block->references != 0) return false;
      keep_spare(std::unique_ptr<CachedBlock>(block));
      return true;
    });
  }

  Status adopt_kind(CachedBlock* block, BlockKind kind, std::uint32_t owner_seed) {
    if (kind == BlockKind::plain) return {};
    if (block->kind == kind && block->owner_seed == owner_seed) return {};
    if (block->dirty && block->kind != BlockKind::plain) {
      if (same_family(block->kind, kind) && block->owner_seed == owner_seed) return {};
      return Error(EUCLEAN, device.name(), fmt::format("block {} is in use for two things at once", block->number),
                   "run e2fsck -f");
    }
    const BlockKind old_kind = block->kind;
    const std::uint32_t old_seed = block->owner_seed;
    block->kind = kind;
    block->owner_seed = owner_seed;
    if (block->dirty) return {};
    Status verified = verify(*block);
    if (!verified) {
      block->kind = old_kind;
      block->owner_seed = old_seed;
    }
    return verified;
  }

  Status check_number(std::uint64_t number) const {
    if (number < device.pages().raw()) return {};
    return Error(EUCLEAN, device.name(), fmt::format("block {} lies past the end of the device", number),
                 "run e2fsck -f");
  }

  Status write_home(const CachedBlock& block, bool made_to_fail) {
    HF_TRY(device.reserve(Pfn(block.number), PageCount(1)));
    if (made_to_fail ||
        device::copy(device.at(Pfn(block.number)), block.data.data(), kBlockBytes) != device::CopyOutcome::done) {
      return Error(EIO, device.name(), fmt::format("writing metadata block {} failed", block.number));
    }
    return {};
  }
};

BlockCache::BlockCache(device::Device& device, Verify verify, Seal seal)
    : parts_(std::make_unique<Parts>(device, std::move(verify), std::move(seal))) {}

BlockCache::~BlockCache() {
  for (CachedBlock* block : parts_->buckets) {
    while (block != nullptr) {
      CachedBlock* next = block->next;
      delete block;
      block = next;
    }
  }
  for (CachedBlock* block : parts_->forgotten) delete block;
}

Result<BlockRef> BlockCache::read(std::uint64_t number, BlockKind kind, std::uint32_t owner_seed) {
  Parts& parts = *parts_;
  if (CachedBlock* block = parts.find(number); block != nullptr) {
    HF_TRY(parts.adopt_kind(block, kind, owner_seed));
    return BlockRef(block);
  }
  HF_TRY(parts.check_number(number));
  std::unique_ptr<CachedBlock> block = parts.prepare(number, kind, owner_seed);
  if (HF_FAULT_POINT("ext4.block_cache.read") || parts.load(block->data.data(), number) != device::CopyOutcome::done) {
    parts.keep_spare(std::move(block));
    return Error(EIO, parts.device.name(), fmt::format("reading metadata block {} failed", number));
  }
  if (Status verified = parts.verify(*block); !verified) {
    parts.keep_spare(std::move(block));
    return std::move(verified).error();
  }
  return BlockRef(parts.insert(std::move(block)));
}

// The copy is made anew even when there is one: the block was free until now.
Result<BlockRef> BlockCache::fresh(std::uint64_t number, BlockKind kind, std::uint32_t owner_seed) {
  Parts& parts = *parts_;
  HF_TRY(parts.check_number(number));
  CachedBlock* block = parts.find(number);
  if (block == nullptr) {
    block = parts.insert(parts.prepare(number, kind, owner_seed));
  } else {
    block->kind = kind;
    block->owner_seed = owner_seed;
  }
  block->data.fill(std::byte{0});
  return BlockRef(block);
}

std::byte* BlockCache::modify(BlockRef& ref) {
  CachedBlock* block = ref.block();
  HF_CHECK(block != nullptr && !block->forgotten, "C1: a change to a block that was freed");
  ++parts_->modifications;
  if (!block->dirty) {
    block->dirty = true;
    block->dirty_index = static_cast<std::uint32_t>(parts_->dirty.size());
    parts_->dirty.push_back(block);
    // C5. What this transaction logs of it would not be replayed either.
    if (!parts_->revoked.empty()) parts_->revoked.erase(block->number);
  }
  return block->data.data();
}

Status BlockCache::seal(BlockRef& ref) { return ref.block()->dirty ? parts_->seal(*ref.block()) : Status(); }

void BlockCache::forget(std::uint64_t number) {
  Parts& parts = *parts_;
  CachedBlock* block = parts.find(number);
  if (block == nullptr) return;
  if (block->dirty) parts.make_clean(block);
  if (block->logged) {
    parts.make_unlogged(block);
    parts.revoked.insert(number);
  }
  std::unique_ptr<CachedBlock> owned = parts.unlink(block);
  if (block->references == 0) {
    parts.keep_spare(std::move(owned));
  } else {
    block->forgotten = true;
    parts.forgotten.push_back(owned.release());
  }
}

Result<std::span<CachedBlock* const>> BlockCache::seal_dirty() {
  parts_->sort_dirty();
  for (CachedBlock* const block : parts_->dirty) HF_TRY(parts_->seal(*block));
  return std::span<CachedBlock* const>(parts_->dirty);
}

Status BlockCache::write_out() {
  Parts& parts = *parts_;
  if (parts.dirty.empty()) return {};
  HF_TRACE1(write_out, parts.dirty.size());
  HF_ASSIGN(const std::span<CachedBlock* const> blocks, seal_dirty());
  for (const CachedBlock* const block : blocks) {
    HF_TRY(parts.write_home(*block, HF_FAULT_POINT("ext4.block_cache.write")));
  }
  for (std::size_t i = 0; i < blocks.size();) {
    const std::uint64_t first = blocks[i]->number;
    std::uint64_t count = 1;
    while (i + count < blocks.size() && blocks[i + count]->number == first + count) ++count;
    HF_TRY(parts.device.flush(Pfn(first).bytes(), PageCount(count).bytes()));
    i += count;
  }
  HF_TRY(parts.device.fence());
  for (CachedBlock* const block : blocks) block->dirty = false;
  parts.dirty.clear();
  return {};
}

std::vector<std::uint64_t> BlockCache::revoked() const { return {parts_->revoked.begin(), parts_->revoked.end()}; }

void BlockCache::changes_are_logged() {
  Parts& parts = *parts_;
  for (CachedBlock* const block : parts.dirty) {
    block->dirty = false;
    if (block->logged) continue;
    block->logged = true;
    block->logged_index = static_cast<std::uint32_t>(parts.logged.size());
    parts.logged.push_back(block);
  }
  parts.dirty.clear();
  parts.revoked.clear();
}

Status BlockCache::write_logged_home() {
  Parts& parts = *parts_;
  HF_CHECK(parts.dirty.empty(), "J4: {} changes that are not committed would go home", parts.dirty.size());
  for (const CachedBlock* const block : parts.logged) {
    HF_TRY(parts.write_home(*block, HF_FAULT_POINT("ext4.journal.checkpoint")));
    HF_TRY(parts.device.flush(Pfn(block->number).bytes(), kBlockBytes));
  }
  return {};
}

void BlockCache::logged_are_home() {
  for (CachedBlock* const block : parts_->logged) block->logged = false;
  parts_->logged.clear();
}

void BlockCache::read_through(const ReplayedBlocks& replayed) { parts_->replayed = &replayed; }

std::uint64_t BlockCache::modifications() const { return parts_->modifications; }
std::size_t BlockCache::dirty_blocks() const { return parts_->dirty.size(); }
std::size_t BlockCache::logged_blocks() const { return parts_->logged.size(); }
std::size_t BlockCache::revoked_blocks() const { return parts_->revoked.size(); }
std::size_t BlockCache::blocks() const { return parts_->count; }

void BlockCache::trim(std::size_t blocks_max) {
  Parts& parts = *parts_;
  if (!parts.forgotten.empty()) parts.sweep_forgotten();
  // Blocks that are both count twice, which errs towards keeping.
  const std::size_t clean = parts.count - std::min(parts.count, parts.dirty.size() + parts.logged.size());
  if (clean <= blocks_max) return;
  std::vector<CachedBlock*> candidates;
  for (CachedBlock* block : parts.buckets) {
    for (; block != nullptr; block = block->next) {
      if (!block->dirty && !block->logged && block->references == 0) candidates.push_back(block);
    }
  }
  const std::size_t wanted = std::min(candidates.size(), clean - blocks_max + blocks_max / 8);
  if (wanted == 0) return;
  std::nth_element(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(wanted - 1), candidates.end(),
                   [](const CachedBlock* a, const CachedBlock* b) { return a->last_used < b->last_used; });
  for (std::size_t i = 0; i < wanted; ++i) parts.keep_spare(parts.unlink(candidates[i]));
}

}  // namespace holdfast::ext4
