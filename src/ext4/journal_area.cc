#include "ext4/journal_area.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "device/copy.h"
#include "ext4/checksum.h"
#include "ext4/extent_node.h"

namespace holdfast::ext4 {
namespace {

constexpr std::uint32_t kLogBlocksMin = 1024;
constexpr std::uint32_t kLogBlocksMax = 10 * 1024 * 1024;
constexpr std::size_t kMapEntries = 1024;  // block numbers in a block of ext3's map
constexpr std::uint16_t kExtentMagic = 0xf30a;

}  // namespace

Error journal_damaged(const device::Device& device, const std::string& what) {
  return Error(EUCLEAN, device.name(), "the journal is damaged: " + what, "run e2fsck -fy");
}

// Reads the inode and its map straight from the device.
class JournalArea::Reader {
 public:
  Reader(device::Device& device, const ext2_super_block& super, const Geometry& geometry)
      : device_(device), super_(super), geometry_(geometry) {}

  Result<JournalArea> read() {
    HF_ASSIGN(const ext2_inode_large inode, read_inode());
    const std::uint64_t size = inode.i_size | std::uint64_t{inode.i_size_high} << 32;
    const std::uint64_t blocks = size / kBlockBytes;
    if (!LINUX_S_ISREG(inode.i_mode) || inode.i_links_count == 0 || blocks < kLogBlocksMin || blocks > kLogBlocksMax) {
      return journal_damaged(device_, fmt::format("inode {} is no journal", super_.s_journal_inum));
    }
    wanted_ = static_cast<std::uint32_t>(blocks);
    const auto* map = reinterpret_cast<const std::byte*>(inode.i_block);
    if ((inode.i_flags & EXT4_EXTENTS_FL) != 0) {
      HF_TRY(read_extents(map, sizeof(inode.i_block), std::nullopt));
    } else {
      HF_TRY(read_old_map(inode.i_block));
    }
    if (area_.blocks_ < wanted_) return journal_damaged(device_, "its inode has holes");
    return finish();
  }

 private:
  Status read_block(BlockNumber block, std::vector<std::byte>& bytes) {
    if (block == 0 || block >= geometry_.blocks) {
      return journal_damaged(device_, fmt::format("its inode's map lies at block {}", block));
    }
    bytes.resize(kBlockBytes);
    if (device::copy(bytes.data(), device_.at(Pfn(block)), kBlockBytes) == device::CopyOutcome::done) return {};
    return Error(EIO, device_.name(), fmt::format("reading block {} failed", block));
  }

  // Of the descriptor only the place of the table is used: counts and checksums may be in the log.
  Result<ext2_inode_large> read_inode() {
    const std::uint32_t number = super_.s_journal_inum;
    if (number >= geometry_.first_inode || number == EXT2_ROOT_INO) {
      return journal_damaged(device_, fmt::format("inode {} cannot be one", number));
    }
    std::vector<std::byte> block;
    HF_TRY(read_block(descriptor_block_location(super_, geometry_, 0), block));
    const auto* descriptor = reinterpret_cast<const ext4_group_desc*>(block.data());
    std::uint64_t table = descriptor->bg_inode_table;
    if (geometry_.descriptor_bytes >= EXT2_MIN_DESC_SIZE_64BIT) {
      table |= std::uint64_t{descriptor->bg_inode_table_hi} << 32;
    }
    const std::uint32_t index = number - 1;
    HF_TRY(read_block(table + index / geometry_.inodes_per_block(), block));
    const std::byte* from = block.data() + std::size_t{index % geometry_.inodes_per_block()} * geometry_.inode_bytes;
    ext2_inode_large inode{};
    std::memcpy(&inode, from, std::min<std::size_t>(geometry_.inode_bytes, sizeof(inode)));
    if (geometry_.metadata_checksums) {
      const std::uint32_t seed =
          crc32c(crc32c(geometry_.seed, &number, sizeof(number)), &inode.i_generation, sizeof(inode.i_generation));
      if (!inode_verifies(seed, from, geometry_.inode_bytes)) {
        return journal_damaged(device_, fmt::format("the checksum of inode {} does not match", number));
      }
    }
    return inode;
  }

  Status add(std::uint64_t logical, BlockNumber block, std::uint64_t count) {
    if (area_.blocks_ >= wanted_) return {};
    if (logical != area_.blocks_) return journal_damaged(device_, "its inode has holes");
    if (block == 0 || count == 0 || block >= geometry_.blocks || count > geometry_.blocks - block) {
      return journal_damaged(device_, fmt::format("blocks {}+{} cannot belong to it", block, count));
    }
    count = std::min<std::uint64_t>(count, wanted_ - area_.blocks_);
    if (!area_.runs_.empty() && area_.runs_.back().first + area_.runs_.back().count == block) {
      area_.runs_.back().count += count;
    } else {
      area_.runs_.push_back({block, count});
      area_.first_.push_back(area_.blocks_);
    }
    area_.blocks_ += static_cast<std::uint32_t>(count);
    return {};
  }

  Status read_extents(const std::byte* node, std::size_t bytes, std::optional<unsigned> depth) {
    const auto* header = reinterpret_cast<const ExtentHeader*>(node);
    if (header->magic != kExtentMagic || header->entries > header->capacity || header->depth > kExtentDepthMax ||
        std::size_t{header->entries} * sizeof(ExtentEntry) + sizeof(ExtentHeader) > bytes ||
        (depth && header->depth != *depth)) {
      return journal_damaged(device_, "its inode's map is not readable");
    }
    const auto* entries = reinterpret_cast<const ExtentEntry*>(node + sizeof(ExtentHeader));
    for (std::size_t i = 0; i < header->entries; ++i) {
      if (header->depth == 0) {
        const ExtentRecord record = to_record(entries[i]);
        HF_TRY(add(record.logical, record.block, record.count));
      } else {
        std::vector<std::byte> child;
        HF_TRY(read_block(child_block(entries[i]), child));
        HF_TRY(read_extents(child.data(), child.size(), header->depth - 1u));
      }
    }
    return {};
  }

  Status read_map_block(BlockNumber block, unsigned levels) {
    std::vector<std::byte> bytes;
    HF_TRY(read_block(block, bytes));
    const auto* numbers = reinterpret_cast<const std::uint32_t*>(bytes.data());
    for (std::size_t i = 0; i < kMapEntries && area_.blocks_ < wanted_; ++i) {
      HF_TRY(levels == 0 ? add(area_.blocks_, numbers[i], 1) : read_map_block(numbers[i], levels - 1));
    }
    return {};
  }

  Status read_old_map(const std::uint32_t (&map)[EXT2_N_BLOCKS]) {
    for (unsigned i = 0; i < EXT2_NDIR_BLOCKS; ++i) HF_TRY(add(i, map[i], 1));
    for (unsigned levels = 0; levels < 3 && area_.blocks_ < wanted_; ++levels) {
      HF_TRY(read_map_block(map[EXT2_NDIR_BLOCKS + levels], levels));
    }
    return {};
  }

  Result<JournalArea> finish() {
    area_.sorted_ = area_.runs_;
    std::sort(area_.sorted_.begin(), area_.sorted_.end(),
              [](const BlockRun& a, const BlockRun& b) { return a.first < b.first; });
    for (std::size_t i = 1; i < area_.sorted_.size(); ++i) {
      const BlockRun& before = area_.sorted_[i - 1];
      if (before.first + before.count > area_.sorted_[i].first) {
        return journal_damaged(device_, fmt::format("it has block {} twice", area_.sorted_[i].first));
      }
    }
    return std::move(area_);
  }

  device::Device& device_;
  const ext2_super_block& super_;
  const Geometry& geometry_;
  JournalArea area_;
  std::uint32_t wanted_ = 0;
};

Result<JournalArea> JournalArea::find(device::Device& device, const ext2_super_block& super, const Geometry& geometry) {
  if (super.s_journal_inum == 0) {
    return Error(ENOTSUP, device.name(), "the journal lies on another device",
                 "tune2fs -O ^has_journal, or mount it read-only");
  }
  return Reader(device, super, geometry).read();
}

BlockNumber JournalArea::at(std::uint32_t index) const {
  HF_DEBUG_CHECK(index < blocks_, "J1: log block {} of {}", index, blocks_);
  const auto after = std::upper_bound(first_.begin(), first_.end(), index);
  const auto run = static_cast<std::size_t>(after - first_.begin()) - 1;
  return runs_[run].first + (index - first_[run]);
}

bool JournalArea::contains(BlockNumber block) const {
  const auto after = std::upper_bound(sorted_.begin(), sorted_.end(), block,
                                      [](BlockNumber number, const BlockRun& run) { return number < run.first; });
  return after != sorted_.begin() && block - std::prev(after)->first < std::prev(after)->count;
}

Status JournalArea::reserve(device::Device& device) const {
  for (const BlockRun& run : runs_) HF_TRY(device.reserve(Pfn(run.first), PageCount(run.count)));
  return {};
}

}  // namespace holdfast::ext4
