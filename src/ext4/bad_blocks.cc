#include "ext4/bad_blocks.h"

#include <cerrno>
#include <limits>
#include <span>

#include <fmt/format.h>

#include "base/clock.h"
#include "ext4/extent_indirect.h"

namespace holdfast::ext4 {
namespace {

constexpr InodeNumber kBadBlocks{EXT2_BAD_INO};
constexpr std::uint64_t kNumbersPerBlock = kBlockBytes / sizeof(std::uint32_t);
constexpr unsigned kLevels = 3;

// Appends to the list: behind its last number, whatever was taken out before it, so that few blocks change.
class BadList {
 public:
  BadList(Volume& volume, std::uint64_t end, std::span<const BlockNumber> blocks)
      : volume_(volume), end_(end), rest_(blocks) {}

  std::size_t left() const { return rest_.size(); }

  Status append(std::span<std::uint32_t> inode_numbers) {
    std::uint64_t at = 0;
    for (; at < EXT2_NDIR_BLOCKS; ++at) take_place(at, inode_numbers[at]);
    std::uint64_t span = kNumbersPerBlock;
    for (unsigned level = 1; level <= kLevels; ++level) {
      HF_TRY(append_below(inode_numbers[EXT2_IND_BLOCK + level - 1], at, span, level));
      at += span;
      span *= kNumbersPerBlock;
    }
    return {};
  }

 private:
  void take_place(std::uint64_t at, std::uint32_t& number) {
    if (at < end_ || rest_.empty()) return;
    number = static_cast<std::uint32_t>(rest_.front());
    rest_ = rest_.subspan(1);
  }

  // A block of numbers, made where there is none, which stands for the places [at, at + span).
  Status append_below(std::uint32_t& number, std::uint64_t at, std::uint64_t span, unsigned level) {
    if (at + span <= end_ || rest_.empty()) return {};
    const bool fresh = number == 0;
    if (fresh) {
      HF_ASSIGN(const BlockNumber made, volume_.allocate_metadata(rest_.front()));
      if (made > std::numeric_limits<std::uint32_t>::max()) {
        volume_.unallocate({made, 1});
        return Error(EFBIG, volume_.name(), fmt::format("block {} is beyond what a list of bad blocks can name", made));
      }
      number = static_cast<std::uint32_t>(made);
    }
    HF_TRY(volume_.check_run({number, 1}));
    HF_ASSIGN(BlockRef block,
              fresh ? volume_.cache().fresh(number, BlockKind::plain) : volume_.cache().read(number, BlockKind::plain));
    if (fresh) volume_.cache().modify(block);
    const std::uint64_t each = span / kNumbersPerBlock;
    for (std::size_t i = 0; i < kNumbersPerBlock && !rest_.empty(); ++i, at += each) {
      const std::uint32_t old = block.as<std::uint32_t>()[i];
      std::uint32_t now = old;
      if (level > 1) {
        HF_TRY(append_below(now, at, each, level - 1));
      } else {
        take_place(at, now);
      }
      if (now != old) volume_.cache().modify_as<std::uint32_t>(block)[i] = now;
    }
    return {};
  }

  Volume& volume_;
  const std::uint64_t end_;
  std::span<const BlockNumber> rest_;
};

Result<ExtentList> records_of_list(VolumeCore& volume, const RawInode& inode) {
  ExtentList found;
  HF_TRY(find_indirect(volume, kBadBlocks, inode, {0, std::numeric_limits<std::uint32_t>::max()}, found));
  return found;
}

}  // namespace

Status each_bad_run(VolumeCore& volume, const std::function<void(BlockRun)>& visit) {
  HF_ASSIGN(const RawInode* const inode, volume.inode_table().get(raw(kBadBlocks)));
  HF_ASSIGN(const ExtentList found, records_of_list(volume, *inode));
  const std::uint64_t cluster = volume.blocks_per_cluster();
  for (const ExtentRecord& record : found) {
    if (cluster == 1) {
      visit({record.block, record.count});
      continue;
    }
    // Other makers name every block.
    for (std::uint64_t block = record.block / cluster * cluster; block < record.block + record.count;
         block += cluster) {
      visit({block, cluster});
    }
  }
  return {};
}

std::uint32_t bad_list_blocks(std::size_t more) {
  return static_cast<std::uint32_t>(more / kNumbersPerBlock) + 2 + kLevels;
}

Status add_bad_blocks(VolumeCore& volume, const std::vector<BlockNumber>& blocks) {
  for (const BlockNumber block : blocks) {
    if (block <= std::numeric_limits<std::uint32_t>::max()) continue;
    return Error(EFBIG, volume.name(), fmt::format("block {} is beyond what a list of bad blocks can name", block));
  }
  HF_ASSIGN(RawInode* const inode, volume.inode_table().get(raw(kBadBlocks)));
  ext2_inode_large& body = inode->body;
  if ((body.i_flags & EXT4_EXTENTS_FL) != 0) return damaged(volume, "inode 1: the list of bad blocks has extents");
  HF_ASSIGN(const ExtentList found, records_of_list(volume, *inode));
  BadList list(volume, found.empty() ? 0 : found.back().end(), blocks);
  HF_TRY(list.append(body.i_block));
  const std::uint64_t added = blocks.size() - list.left();
  const std::uint64_t size = (body.i_size | std::uint64_t{body.i_size_high} << 32) + added * kBlockBytes;
  const std::uint64_t sectors = body.i_blocks + added * volume.blocks_per_cluster() * (kBlockBytes / 512);
  body.i_size = static_cast<std::uint32_t>(size);
  body.i_size_high = static_cast<std::uint32_t>(size >> 32);
  body.i_blocks = static_cast<std::uint32_t>(sectors);
  body.i_atime = body.i_mtime = static_cast<std::uint32_t>(file_time_now().seconds);
  if (body.i_ctime == 0) body.i_ctime = body.i_mtime;
  volume.inode_changed(kBadBlocks);
  return list.left() == 0 ? Status() : Status(Error(EFBIG, volume.name(), "the list of bad blocks is full"));
}

}  // namespace holdfast::ext4
