// The map of a file's blocks, read whole: every block in range, in order, and nobody else's.
#include <fmt/format.h>

#include <cstring>
#include <span>

#include "ext4/verify_state.h"

namespace holdfast::ext4 {

bool is_extent_header(const ExtentHeader& header, std::size_t room) {
  constexpr std::size_t kSpare = 2;  // entries that a maker may have left unused
  return header.magic == 0xf30a && header.entries <= header.capacity && header.capacity <= room &&
         header.capacity + kSpare >= room;
}

namespace {

constexpr std::uint64_t kNumbersPerBlock = kBlockBytes / sizeof(std::uint32_t);
constexpr std::uint64_t kSmallDirectoryBlocks = std::uint64_t{1} << 19;  // without large_dir: 2 GiB
constexpr std::uint64_t kOldFileBlocks = std::uint64_t{1} << 29;         // sectors are counted in 32 bits

class MapReader {
 public:
  MapReader(Verifying& verifying, const ScannedInode& inode)
      : verifying_(verifying),
        inode_(inode),
        ratio_(verifying.geometry().blocks_per_cluster()),
        is_directory_(inode.is(LINUX_S_IFDIR)),
        size_blocks_((inode.size() + kBlockBytes - 1) / kBlockBytes) {}

  FoundBlocks read() {
    if (inode_.has(EXT4_EXTENTS_FL) && verifying_.incompatible(EXT3_FEATURE_INCOMPAT_EXTENTS)) {
      read_extents();
    } else {
      read_numbers();
    }
    return std::move(found_);
  }

 private:
  void problem(const std::string& what) { verifying_.problem(inode_.number, what); }

  // --- a tree of extents ---

  struct Node {
    ExtentEntries entries;
    unsigned level = 0;       // above the leaves
    std::uint64_t start = 0;  // file blocks that it speaks of: from there
    std::uint64_t last = 0;   // up to there; 0: anywhere
    std::uint64_t end = 0;    // where those of the next node begin; after the last one, where the file ends
  };

  void read_extents() {
    ExtentHeader header;
    std::memcpy(&header, inode_.body.i_block, sizeof header);
    if (!is_extent_header(header, kRootEntries)) return problem("the root of its extents has no valid head");
    if (header.depth > kExtentDepthMax) return problem(fmt::format("its extents are {} levels deep", header.depth));
    const auto* first =
        reinterpret_cast<const ExtentEntry*>(reinterpret_cast<const std::byte*>(inode_.body.i_block) + sizeof header);
    read_node({ExtentEntries(first, header.entries), header.depth, 0, 0, size_blocks_});
  }

  void read_node(Node node) {
    for (std::size_t i = 0; i < node.entries.size(); ++i) {
      if (node.level > 0) {
        const bool is_last = i + 1 == node.entries.size();
        read_child(node, node.entries[i], is_last ? node.end : node.entries[i + 1].key);
      } else {
        read_record(node, to_record(node.entries[i]));
      }
    }
  }

  // What is wrong with the place of an entry; null when nothing is.
  const char* misplaced(const Node& node, std::uint64_t block, std::uint64_t logical, std::uint64_t last,
                        bool unwritten) const {
    if (!verifying_.is_block(block)) return "begins outside of the volume";
    if (logical < node.start) return "is out of order";
    const bool preallocated = last + 1 > size_blocks_ && (unwritten || inode_.has(EXT4_VERITY_FL));
    if (node.last != 0 && last > node.last && !preallocated) return "reaches past its node";
    return nullptr;
  }

  void read_child(const Node& node, const ExtentEntry& entry, std::uint64_t end) {
    const BlockNumber block = child_block(entry);
    // In 32 bits: behind the end of the file this is a large number, and anything goes.
    const std::uint64_t last = std::uint64_t{entry.key} + static_cast<std::uint32_t>(end - entry.key) - 1;
    if (const char* wrong = misplaced(node, block, entry.key, last, false)) {
      return problem(fmt::format("the node of its extents at file block {} {}", entry.key, wrong));
    }
    const std::uint32_t seed = verifying_.volume.inode_seed(InodeNumber{inode_.number}, inode_.body.i_generation);
    const Result<BlockRef> ref = verifying_.volume.cache().read(block, BlockKind::extent_node, seed);
    if (!ref) return verifying_.problem(inode_.number, ref.error());
    const auto header = *ref->as<ExtentHeader>();
    if (!is_extent_header(header, kNodeEntries) || header.entries == 0) {
      return problem(fmt::format("the node of its extents in block {} has no valid head", block));
    }
    if (header.depth + 1U != node.level) {
      problem(fmt::format("extent node in block {}: depth is {} instead of {}", block, header.depth, node.level - 1));
    }
    const ExtentEntries entries(ref->as<ExtentEntry>(sizeof header), header.entries);
    if (entries[0].key != entry.key) {
      problem(fmt::format("the node of its extents in block {} begins at file block {}, and its parent says {}", block,
                          entries[0].key, entry.key));
    }
    read_node({entries, node.level - 1, entries[0].key, last, end});
    claim(block, 1);
    ++found_.clusters;
  }

  void read_record(Node& node, const ExtentRecord& record) {
    const std::uint64_t last = record.logical + record.count - 1;
    const char* wrong = misplaced(node, record.block, record.logical, last, record.unwritten);
    if (wrong == nullptr && record.count == 0) wrong = "has no length";
    if (wrong == nullptr && record.count > verifying_.geometry().blocks - record.block) wrong = "ends outside";
    if (wrong == nullptr && too_far_for_directory(record.end())) wrong = "is too far in a directory";
    if (wrong == nullptr && record.logical < next_logical_) wrong = "overlaps its predecessor";
    if (wrong != nullptr) return problem(fmt::format("the extent at file block {} {}", record.logical, wrong));
    next_logical_ = record.end();
    if (is_directory_ && record.unwritten) problem("a directory with unwritten blocks");
    if (is_directory_ && found_.end < record.logical) {
      problem(fmt::format("a directory with a hole at block {}", found_.end));
    }
    take(record);
    node.start = last;
    if (!is_directory_ && !record.unwritten) found_.last_written = static_cast<std::int64_t>(last);
  }

  bool too_far_for_directory(std::uint64_t end) const {
    return is_directory_ && inode_.body.i_size_high == 0 && !verifying_.incompatible(EXT4_FEATURE_INCOMPAT_LARGEDIR) &&
           end > kSmallDirectoryBlocks;
  }

  // The clusters of a record; the first one may be the last one of the record before.
  void take(const ExtentRecord& record) {
    if (ratio_ > 1 && askew(record)) {
      problem(fmt::format("the blocks at file block {} lie askew in their cluster", record.logical));
    }
    const std::uint64_t end = (record.block + record.count - 1) / ratio_ + 1;
    std::uint64_t first = record.block / ratio_;
    if (ratio_ > 1 && previous_block_ != 0 && first == previous_block_ / ratio_) ++first;
    if (first < end) {
      claim(first * ratio_, (end - first) * ratio_);
      found_.clusters += end - first;
    }
    previous_block_ = record.block + record.count - 1;
    found_.end = record.end();
    if (is_directory_) found_.runs.push_back(record);
  }

  // One cluster of the volume stands for one of the file.
  bool askew(const ExtentRecord& record) const {
    if (record.logical % ratio_ != record.block % ratio_) return true;
    const bool shares =
        previous_block_ != 0 && record.logical % ratio_ != 0 && record.logical / ratio_ == (found_.end - 1) / ratio_;
    return shares && record.block / ratio_ != previous_block_ / ratio_;
  }

  void claim(std::uint64_t block, std::uint64_t count) {
    if (verifying_.clusters.claim(block / ratio_, (count + ratio_ - 1) / ratio_)) return;
    problem(fmt::format("of its blocks {}+{} some belong to others, too", block, count));
  }

  // --- block numbers, as ext2 and ext3 have them ---

  void read_numbers() {
    const std::span<const std::uint32_t> numbers(inode_.body.i_block);
    read_numbers(numbers.first(EXT2_NDIR_BLOCKS), 0, 1, 0);
    std::uint64_t logical = EXT2_NDIR_BLOCKS;
    std::uint64_t each = kNumbersPerBlock;
    for (unsigned level = 1; level <= 3; ++level) {
      read_numbers(numbers.subspan(EXT2_IND_BLOCK + level - 1, 1), logical, each, level);
      logical += each;
      each *= kNumbersPerBlock;
    }
    found_.last_written = static_cast<std::int64_t>(found_.end) - 1;
  }

  // Each number stands for `each` file blocks through `level` further blocks.
  void read_numbers(std::span<const std::uint32_t> numbers, std::uint64_t logical, std::uint64_t each, unsigned level) {
    for (const std::uint32_t number : numbers) {
      if (number != 0) {
        if (level == 0) {
          read_number(logical, number);
        } else {
          read_map_block(logical, number, each, level);
        }
      }
      logical += each;
    }
  }

  void read_map_block(std::uint64_t logical, std::uint32_t number, std::uint64_t each, unsigned level) {
    if (!verifying_.is_block(number)) {
      return problem(fmt::format("block {} of its map is outside of the volume", number));
    }
    const Result<BlockRef> block = verifying_.volume.cache().read(number, BlockKind::plain);
    if (!block) return verifying_.problem(inode_.number, block.error());
    // Of the inode that reserves space for descriptors, all but its first block are among the descriptors.
    const bool descriptors = inode_.number == EXT2_RESIZE_INO && level == 1;
    if (!descriptors) claim(number, 1);
    ++found_.clusters;
    read_numbers({block->as<std::uint32_t>(), kNumbersPerBlock}, logical, each / kNumbersPerBlock, level - 1);
  }

  void read_number(std::uint64_t logical, std::uint32_t number) {
    const bool regular = inode_.is(LINUX_S_IFREG);
    // Of bad blocks any number, in any order; of a cluster each block may be there.
    if (inode_.number == EXT2_BAD_INO && verifying_.is_block(number)) {
      if (ratio_ == 1 || previous_block_ == 0 || number / ratio_ != previous_block_ / ratio_) {
        claim(number / ratio_ * ratio_, ratio_);
        ++found_.clusters;
      }
      previous_block_ = number;
      found_.end = logical + 1;
      return;
    }
    const bool too_far = (is_directory_ && too_far_for_directory(logical)) ||
                         ((is_directory_ || regular) && found_.clusters + 1 >= kOldFileBlocks) ||
                         (!is_directory_ && !regular && logical > 0);
    if (!verifying_.is_block(number) || too_far) {
      return problem(fmt::format("block {} at file block {} cannot be", number, logical));
    }
    if (inode_.number == EXT2_RESIZE_INO) {
      ++found_.clusters;
      found_.end = logical + 1;
      return;
    }
    if (is_directory_ && found_.end < logical && !verifying_.incompatible(EXT4_FEATURE_INCOMPAT_LARGEDIR)) {
      problem(fmt::format("a directory with a hole at block {}", found_.end));
    }
    take({logical, number, 1, false});
  }

  Verifying& verifying_;
  const ScannedInode& inode_;
  const std::uint64_t ratio_;
  const bool is_directory_;
  const std::uint64_t size_blocks_;
  std::uint64_t next_logical_ = 0;
  std::uint64_t previous_block_ = 0;  // of the volume
  FoundBlocks found_;
};

}  // namespace

FoundBlocks verify_map(Verifying& verifying, const ScannedInode& inode) { return MapReader(verifying, inode).read(); }

}  // namespace holdfast::ext4
