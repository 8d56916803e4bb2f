#include "ext4/journal_replay.h"

#include <cerrno>

#include <fmt/format.h>

#include "base/fault_point.h"
#include "base/mark.h"
#include "device/copy.h"

namespace holdfast::ext4 {
namespace {

constexpr std::size_t kInMemoryMax = 64 * 1024;  // blocks: 256 MiB

}  // namespace

bool ReplayedBlocks::touches(BlockRun run) const {
  if (run.count < blocks_.size()) {
    for (std::uint64_t i = 0; i < run.count; ++i) {
      if (blocks_.count(run.first + i) != 0) return true;
    }
    return false;
  }
  for (const auto& [block, bytes] : blocks_) {
    if (block >= run.first && block - run.first < run.count) return true;
  }
  return false;
}

Status replay_home(device::Device& device, const JournalArea& area, JournalSuper& super, const LogContents& contents) {
  LogBlock block;
  for (const LogCopy& copy : contents.copies) {
    HF_TRY(read_copy(device, area, copy, block));
    HF_TRY(device.reserve(Pfn(copy.home), PageCount(1)));
    if (HF_FAULT_POINT("ext4.journal.replay") ||
        device::copy(device.at(Pfn(copy.home)), block.data(), block.size()) != device::CopyOutcome::done) {
      return Error(EIO, device.name(), fmt::format("replaying the journal to block {} failed", copy.home));
    }
    HF_TRY(device.flush(Pfn(copy.home).bytes(), block.size()));
  }
  HF_TRY(device.fence());
  HF_MARK("ext4.journal.replayed");
  super.set_log(0, contents.next_sequence);
  HF_TRY(super.write(device, area));
  return device.fence();
}

Result<ReplayedBlocks> replay_into_memory(device::Device& device, const JournalArea& area,
                                          const LogContents& contents) {
  if (contents.copies.size() > kInMemoryMax) {
    return Error(ENOTSUP, device.name(),
                 fmt::format("the journal has {} blocks to replay, too many to keep in memory", contents.copies.size()),
                 "mount it for writing once, or run e2fsck -p");
  }
  ReplayedBlocks blocks;
  for (const LogCopy& copy : contents.copies) {
    auto bytes = std::make_unique<LogBlock>();
    HF_TRY(read_copy(device, area, copy, *bytes));
    blocks.add(copy.home, std::move(bytes));
  }
  return blocks;
}

}  // namespace holdfast::ext4
