#include "ext4/extent_node.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "base/check.h"

namespace holdfast::ext4 {

static_assert(std::endian::native == std::endian::little, "nodes are used as they lie on the medium");

namespace {

constexpr std::uint16_t kMagic = 0xf30a;

Error bad_node(const Volume& volume, InodeNumber inode, const std::string& where, const std::string& what) {
  return damaged(volume, fmt::format("inode {}: extent {}: {}", filesystem::raw(inode), where, what));
}

std::string node_name(BlockNumber block) { return block == 0 ? "root" : fmt::format("node in block {}", block); }

// Checks the records of a leaf, in order. Returns what is wrong, empty when nothing.
std::string check_records(const Volume& volume, ExtentEntries entries, const NodeExpectation& expected) {
  const std::uint64_t ratio = volume.blocks_per_cluster();
  std::uint64_t next = expected.lower;
  ExtentRecord previous;
  for (const ExtentEntry& entry : entries) {
    const ExtentRecord record = to_record(entry);
    if (record.count == 0) return fmt::format("record at {} is empty", record.logical);
    if (record.logical < next) return fmt::format("record at {} overlaps its predecessor", record.logical);
    if (record.end() > expected.upper) return fmt::format("record at {} ends in the next node", record.logical);
    if (ratio > 1) {
      if (record.block % ratio != record.logical % ratio) {
        return fmt::format("record at {} lies askew in its cluster", record.logical);
      }
      const bool shares = previous.count != 0 && (previous.end() - 1) / ratio == record.logical / ratio;
      if (shares && previous.block_at(previous.end() - 1) / ratio != record.block / ratio) {
        return fmt::format("record at {} lies in another cluster than its neighbour", record.logical);
      }
    }
    next = record.end();
    previous = record;
  }
  return {};
}

std::string check_index(ExtentEntries entries, const NodeExpectation& expected) {
  std::uint64_t next = expected.lower;
  for (const ExtentEntry& entry : entries) {
    if (entry.key < next) return fmt::format("key {} is out of order", entry.key);
    if (entry.key >= expected.upper) return fmt::format("key {} belongs to the next node", entry.key);
    next = std::uint64_t{entry.key} + 1;
  }
  return {};
}

// The header says how many entries there are; the entries are checked whole.
Result<ExtentEntries> check_node(const Volume& volume, InodeNumber inode, BlockNumber block, const void* bytes,
                                 std::size_t capacity, const NodeExpectation& expected) {
  ExtentHeader header;
  std::memcpy(&header, bytes, sizeof header);
  std::string wrong;
  if (header.magic != kMagic) {
    wrong = fmt::format("magic is {:#06x}", header.magic);
  } else if (header.capacity == 0 || header.capacity > capacity || header.entries > header.capacity) {
    wrong = fmt::format("{} entries of {}, where {} fit", header.entries, header.capacity, capacity);
  } else if (header.entries == 0 && (block != 0 || header.depth != 0)) {
    wrong = "no entries";
  } else if (header.depth != expected.depth) {
    wrong = fmt::format("depth is {} instead of {}", header.depth, expected.depth);
  }
  if (!wrong.empty()) return bad_node(volume, inode, node_name(block), wrong);
  const auto* first = reinterpret_cast<const ExtentEntry*>(static_cast<const std::byte*>(bytes) + sizeof header);
  const ExtentEntries entries(first, header.entries);
  wrong = header.depth == 0 ? check_records(volume, entries, expected) : check_index(entries, expected);
  if (!wrong.empty()) return bad_node(volume, inode, node_name(block), wrong);
  return entries;
}

void write_header_and_entries(std::byte* bytes, std::size_t capacity, unsigned depth, ExtentEntries entries) {
  HF_CHECK(entries.size() <= capacity, "{} entries for {} places", entries.size(), capacity);
  ExtentHeader header;
  header.magic = kMagic;
  header.entries = static_cast<std::uint16_t>(entries.size());
  header.capacity = static_cast<std::uint16_t>(capacity);
  header.depth = static_cast<std::uint16_t>(depth);
  std::memcpy(bytes, &header, sizeof header);
  if (!entries.empty()) std::memcpy(bytes + sizeof header, entries.data(), entries.size_bytes());
  std::memset(bytes + sizeof header + entries.size_bytes(), 0, (capacity - entries.size()) * sizeof(ExtentEntry));
}

}  // namespace

// A leaf entry: 16 bits of length, whose values above 32768 say "unwritten", then 48 bits of block, high part first.
ExtentRecord to_record(const ExtentEntry& leaf_entry) {
  const std::uint64_t length = leaf_entry.low & 0xffff;
  ExtentRecord record;
  record.logical = leaf_entry.key;
  record.block = (std::uint64_t{leaf_entry.low >> 16} << 32) | leaf_entry.high;
  record.unwritten = length > kWrittenBlocksMax;
  record.count = record.unwritten ? length - kWrittenBlocksMax : length;
  return record;
}

ExtentEntry to_entry(const ExtentRecord& record) {
  HF_CHECK(record.count > 0 && record.count <= (record.unwritten ? kUnwrittenBlocksMax : kWrittenBlocksMax) &&
               record.end() <= kLogicalEnd && record.block >> 48 == 0,
           "extent at {}: {} blocks from {}", record.logical, record.count, record.block);
  const std::uint64_t length = record.unwritten ? record.count + kWrittenBlocksMax : record.count;
  return ExtentEntry{static_cast<std::uint32_t>(record.logical),
                     static_cast<std::uint32_t>(length | (record.block >> 32 << 16)),
                     static_cast<std::uint32_t>(record.block)};
}

// An index entry: 32 low bits of the child's block, then 16 high bits.
BlockNumber child_block(const ExtentEntry& index_entry) {
  return (std::uint64_t{index_entry.high & 0xffff} << 32) | index_entry.low;
}

ExtentEntry index_entry(std::uint32_t key, BlockNumber child) {
  return ExtentEntry{key, static_cast<std::uint32_t>(child), static_cast<std::uint32_t>(child >> 32)};
}

Result<unsigned> root_depth(const Volume& volume, InodeNumber inode, const RawInode& raw) {
  ExtentHeader header;
  std::memcpy(&header, raw.body.i_block, sizeof header);
  if (header.magic != kMagic || header.depth > kExtentDepthMax) {
    return bad_node(volume, inode, "root", fmt::format("magic is {:#06x}, depth {}", header.magic, header.depth));
  }
  return unsigned{header.depth};
}

Result<ExtentEntries> root_entries(const Volume& volume, InodeNumber inode, const RawInode& raw,
                                   const NodeExpectation& expected) {
  return check_node(volume, inode, 0, raw.body.i_block, kRootEntries, expected);
}

Result<ExtentEntries> read_node(Volume& volume, InodeNumber inode, const RawInode& raw, BlockNumber block,
                                const NodeExpectation& expected, BlockRef& keep) {
  HF_TRY(volume.check_run(BlockRun{block, 1}));
  const std::uint32_t seed = volume.inode_seed(inode, raw.body.i_generation);
  HF_ASSIGN(keep, volume.cache().read(block, BlockKind::extent_node, seed));
  return check_node(volume, inode, block, keep.data(), kNodeEntries, expected);
}

void write_root(RawInode& raw, unsigned depth, ExtentEntries entries) {
  write_header_and_entries(reinterpret_cast<std::byte*>(raw.body.i_block), kRootEntries, depth, entries);
}

void write_node(std::byte* bytes, unsigned depth, ExtentEntries entries) {
  write_header_and_entries(bytes, kNodeEntries, depth, entries);
}

std::size_t position_at(ExtentEntries entries, std::uint64_t logical) {
  const auto after = std::upper_bound(entries.begin(), entries.end(), logical,
                                      [](std::uint64_t at, const ExtentEntry& entry) { return at < entry.key; });
  return after == entries.begin() ? 0 : static_cast<std::size_t>(after - entries.begin()) - 1;
}

std::size_t position_from(ExtentEntries entries, std::uint64_t logical) {
  const auto found = std::lower_bound(entries.begin(), entries.end(), logical,
                                      [](const ExtentEntry& entry, std::uint64_t at) { return entry.key < at; });
  return static_cast<std::size_t>(found - entries.begin());
}

}  // namespace holdfast::ext4
