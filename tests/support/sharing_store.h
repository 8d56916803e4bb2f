// A small format that shares blocks between files, for tests of what the mapping and layout layers do about it: blocks
// of one page with a count of the files that have each, files that are a list of blocks, copies on write, clones, and a
// quarantine. The contents of a block are one number.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "layout/break.h"
#include "mapping/mapping.h"
#include "pagemap/pagemap.h"

namespace holdfast::test {

class SharingStore;

// Invariants
//   B1  a block of the list is counted once for it in the store's counts.
//   B2  the list changes under `lock`, and blocks leave it inside a commit of a break.
class SharedFile final : private pagemap::PageOwner {
 public:
  SharedFile(SharingStore& store, std::uint32_t number);
  ~SharedFile();

  mapping::Mapping& mapping() { return mapping_; }
  std::optional<Pfn> block_at(std::uint64_t index);

  // A fault for `access`, then the pin; for write access the file gets a block of its own first. The caller unpins.
  mapping::PinnedRun pin(std::uint64_t index, Access access);
  // nullopt: a hole.
  std::optional<std::uint64_t> load(std::uint64_t index);
  void store(std::uint64_t index, std::uint64_t value);
  // 0, or the error of the break.
  int truncate(std::uint64_t first, OnPinned on_pinned = OnPinned::wait, Deadline deadline = Deadline::never());
  // [first, first + count) of `from`, another file, is what this file has at `at` afterwards; the blocks are shared.
  int clone(SharedFile& from, std::uint64_t first, std::uint64_t count, std::uint64_t at);

 private:
  friend class SharingStore;
  void last_put(Pfn first, Order order) noexcept override;
  PageRange everything() const { return {PageIndex(0), kEndOfFile}; }
  void fault(std::uint64_t index, Access access);
  bool take_blocks_out(layout::Break& broken, PageRange range, OnPinned on_pinned);

  SharingStore& store_;
  std::mutex lock_;
  std::map<std::uint64_t, Pfn> blocks_;  // by page of the file
  mapping::Mapping mapping_;
};

class SharingStore {
 public:
  explicit SharingStore(std::uint64_t blocks);
  ~SharingStore();

  pagemap::PageMap& pages() { return *map_; }
  std::uint64_t free_blocks();
  std::uint64_t quarantined();
  std::uint32_t files_of(Pfn block) const { return counts_.at(block.raw()).load(); }
  std::uint64_t last_puts_told() const { return quarantine_.told.load(); }
  std::uint64_t contents(Pfn block) const { return contents_.at(block.raw()).load(); }
  // Takes back what nobody holds any more.
  void reap();

 private:
  friend class SharedFile;
  // The last owner of pages whose files are gone.
  struct QuarantineOwner final : pagemap::PageOwner {
    void last_put(Pfn, Order) noexcept override { told.fetch_add(1); }
    std::atomic<std::uint64_t> told{0};
  };

  Pfn allocate();
  void free_block(Pfn block);  // S1 is checked
  // One file less has the block. Either/or: see mapping/sharing.cc.
  void count_out(Pfn block);

  std::unique_ptr<pagemap::PageMap> map_;
  std::vector<std::atomic<std::uint32_t>> counts_;    // files that have the block
  std::vector<std::atomic<std::uint64_t>> contents_;  // as memory: changed without a lock
  QuarantineOwner quarantine_;
  pagemap::OwnerId quarantine_id_;
  std::mutex lock_;
  std::vector<Pfn> free_;
  std::vector<Pfn> held_;  // nobody's, and not idle when last looked at
};

}  // namespace holdfast::test
