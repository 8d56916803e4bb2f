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

// Fills the empty places of the list, in order.
class BadList {
 public:
  BadList(Volume& volume, std::span<const BlockNumber> blocks) : volume_(volume), rest_(blocks) {}

  bool done() const { return rest_.empty(); }
  std::size_t left() const { return rest_.size(); }

  Status fill_inode(std::span<std::uint32_t> numbers) {
    for (std::uint32_t& number : numbers.first(EXT2_NDIR_BLOCKS)) {
      if (number == 0 && !done()) number = next();
    }
    for (unsigned level = 1; level <= kLevels && !done(); ++level) {
      HF_TRY(fill_below(numbers[EXT2_IND_BLOCK + level - 1], level));
    }
    return {};
  }

 private:
  std::uint32_t next() {
    const auto number = static_cast<std::uint32_t>(rest_.front());
    rest_ = rest_.subspan(1);
    return number;
  }

  // Of a block of numbers, which is made where there is none.
  Status fill_below(std::uint32_t& number, unsigned level) {
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
    for (std::size_t at = 0; at < kNumbersPerBlock && !done(); ++at) {
      const std::uint32_t old = block.as<std::uint32_t>()[at];
      std::uint32_t now = old;
      if (level > 1) {
        HF_TRY(fill_below(now, level - 1));
      } else if (old == 0) {
        now = next();
      }
      if (now != old) volume_.cache().modify_as<std::uint32_t>(block)[at] = now;
    }
    return {};
  }

  Volume& volume_;
  std::span<const BlockNumber> rest_;
};

}  // namespace

Status each_bad_run(VolumeCore& volume, const std::function<void(BlockRun)>& visit) {
  HF_ASSIGN(const RawInode* const inode, volume.inode_table().get(raw(kBadBlocks)));
  ExtentList found;
  HF_TRY(find_indirect(volume, kBadBlocks, *inode, {0, std::numeric_limits<std::uint32_t>::max()}, found));
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
  BadList list(volume, blocks);
  HF_TRY(list.fill_inode(body.i_block));
  const std::uint64_t added = blocks.size() - list.left();
  const std::uint64_t size = (body.i_size | std::uint64_t{body.i_size_high} << 32) + added * kBlockBytes;
  const std::uint64_t sectors = body.i_blocks + added * volume.blocks_per_cluster() * (kBlockBytes / 512);
  body.i_size = static_cast<std::uint32_t>(size);
  body.i_size_high = static_cast<std::uint32_t>(size >> 32);
  body.i_blocks = static_cast<std::uint32_t>(sectors);
  body.i_atime = body.i_mtime = static_cast<std::uint32_t>(file_time_now().seconds);
  if (body.i_ctime == 0) body.i_ctime = body.i_mtime;
  volume.inode_changed(kBadBlocks);
  return list.done() ? Status() : Status(Error(EFBIG, volume.name(), "the list of bad blocks is full"));
}

}  // namespace holdfast::ext4
