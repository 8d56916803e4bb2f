#include "ext4/block_cache.h"

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/check.h"
#include "base/fault_point.h"
#include "base/trace.h"
#include "device/copy.h"

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
  std::vector<CachedBlock*> buckets = std::vector<CachedBlock*>(kFirstBuckets);
  std::size_t count = 0;
  std::vector<CachedBlock*> dirty;
  std::vector<CachedBlock*> forgotten;
  std::vector<std::unique_ptr<CachedBlock>> spares;
  std::uint64_t clock = 0;

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

  Status write_home(CachedBlock& block) {
    HF_TRY(device.reserve(Pfn(block.number), PageCount(1)));
    if (HF_FAULT_POINT("ext4.block_cache.write") ||
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
  if (HF_FAULT_POINT("ext4.block_cache.read") ||
      device::copy(block->data.data(), parts.device.at(Pfn(number)), kBlockBytes) != device::CopyOutcome::done) {
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
  if (!block->dirty) {
    block->dirty = true;
    block->dirty_index = static_cast<std::uint32_t>(parts_->dirty.size());
    parts_->dirty.push_back(block);
  }
  return block->data.data();
}

Status BlockCache::seal(BlockRef& ref) { return ref.block()->dirty ? parts_->seal(*ref.block()) : Status(); }

void BlockCache::forget(std::uint64_t number) {
  Parts& parts = *parts_;
  CachedBlock* block = parts.find(number);
  if (block == nullptr) return;
  if (block->dirty) parts.make_clean(block);
  std::unique_ptr<CachedBlock> owned = parts.unlink(block);
  if (block->references == 0) {
    parts.keep_spare(std::move(owned));
  } else {
    block->forgotten = true;
    parts.forgotten.push_back(owned.release());
  }
}

Status BlockCache::write_out() {
  Parts& parts = *parts_;
  if (parts.dirty.empty()) return {};
  HF_TRACE1(write_out, parts.dirty.size());
  std::sort(parts.dirty.begin(), parts.dirty.end(),
            [](const CachedBlock* a, const CachedBlock* b) { return a->number < b->number; });
  for (std::size_t i = 0; i < parts.dirty.size(); ++i) parts.dirty[i]->dirty_index = static_cast<std::uint32_t>(i);
  for (CachedBlock* block : parts.dirty) HF_TRY(parts.seal(*block));
  for (CachedBlock* block : parts.dirty) HF_TRY(parts.write_home(*block));
  for (std::size_t i = 0; i < parts.dirty.size();) {
    const std::uint64_t first = parts.dirty[i]->number;
    std::uint64_t count = 1;
    while (i + count < parts.dirty.size() && parts.dirty[i + count]->number == first + count) ++count;
    HF_TRY(parts.device.flush(Pfn(first).bytes(), PageCount(count).bytes()));
    i += count;
  }
  HF_TRY(parts.device.fence());
  for (CachedBlock* block : parts.dirty) block->dirty = false;
  parts.dirty.clear();
  return {};
}

std::size_t BlockCache::dirty_blocks() const { return parts_->dirty.size(); }
std::size_t BlockCache::blocks() const { return parts_->count; }

void BlockCache::trim(std::size_t blocks_max) {
  Parts& parts = *parts_;
  if (!parts.forgotten.empty()) parts.sweep_forgotten();
  const std::size_t clean = parts.count - parts.dirty.size();
  if (clean <= blocks_max) return;
  std::vector<CachedBlock*> candidates;
  for (CachedBlock* block : parts.buckets) {
    for (; block != nullptr; block = block->next) {
      if (!block->dirty && block->references == 0) candidates.push_back(block);
    }
  }
  const std::size_t wanted = std::min(candidates.size(), clean - blocks_max + blocks_max / 8);
  if (wanted == 0) return;
  std::nth_element(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(wanted - 1), candidates.end(),
                   [](const CachedBlock* a, const CachedBlock* b) { return a->last_used < b->last_used; });
  for (std::size_t i = 0; i < wanted; ++i) parts.keep_spare(parts.unlink(candidates[i]));
}

}  // namespace holdfast::ext4
