// Bringing the copies of a log to where they belong.
//
// For a mount that writes: home, then durable, then the log is empty. A crash in the middle finds the same log again,
// and writes the same bytes to the same places. For a mount that only reads: into memory; the device is not touched.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "base/result.h"
#include "ext4/journal_scan.h"

namespace holdfast::ext4 {

// Blocks that a reader must find instead of what lies at home.
class ReplayedBlocks {
 public:
  bool empty() const { return blocks_.empty(); }
  // Null: what lies at home counts.
  const std::byte* find(BlockNumber block) const {
    const auto found = blocks_.find(block);
    return found == blocks_.end() ? nullptr : found->second->data();
  }
  bool touches(BlockRun run) const;
  void add(BlockNumber block, std::unique_ptr<LogBlock> bytes) { blocks_[block] = std::move(bytes); }

 private:
  std::unordered_map<BlockNumber, std::unique_ptr<LogBlock>> blocks_;
};

// Writes the copies home and makes them durable, then empties the log. EIO, ENOSPC of the carrier: may be tried again.
Status replay_home(device::Device& device, const JournalArea& area, JournalSuper& super, const LogContents& contents);
// ENOTSUP: more than a reader wants in memory.
Result<ReplayedBlocks> replay_into_memory(device::Device& device, const JournalArea& area, const LogContents& contents);

}  // namespace holdfast::ext4
