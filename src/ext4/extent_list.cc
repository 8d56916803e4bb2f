#include "ext4/extent_list.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "ext4/extent_cursor.h"

namespace holdfast::ext4 {

namespace {

// Unwritten runs are cut at whole 2 MiB units (and clusters), so that no unit lies in two records.
std::uint64_t unwritten_cut(std::uint64_t blocks_per_cluster) {
  const std::uint64_t unit = std::max<std::uint64_t>(kOrder2M.pages().raw(), blocks_per_cluster);
  const std::uint64_t cut = round_down(kUnwrittenBlocksMax, unit);
  return cut == 0 ? kUnwrittenBlocksMax : cut;
}

bool joins(const ExtentRecord& left, const ExtentRecord& right) {
  const std::uint64_t most = left.unwritten ? kUnwrittenBlocksMax : kWrittenBlocksMax;
  return left.unwritten == right.unwritten && left.end() == right.logical && left.block + left.count == right.block &&
         left.count + right.count <= most;
}

}  // namespace

Result<BlockMap> block_map(InodeNumber inode, const RawInode& raw) {
  const ext2_inode_large& body = raw.body;
  const auto type = body.i_mode & S_IFMT;
  if (type != S_IFREG && type != S_IFDIR && type != S_IFLNK) return BlockMap::none;
  if ((body.i_flags & EXT4_EXTENTS_FL) != 0) return BlockMap::extents;
  if ((body.i_flags & EXT4_INLINE_DATA_FL) != 0) {
    return Error(EOPNOTSUPP, fmt::format("inode {}", filesystem::raw(inode)), "its data lies inside the inode",
                 "copy the file to a volume without inline_data");
  }
  if (type == S_IFLNK && body.i_size_high == 0 && body.i_size < sizeof body.i_block) return BlockMap::none;
  return BlockMap::indirect;
}

Status require_extents(InodeNumber inode, const RawInode& raw) {
  HF_ASSIGN(const BlockMap map, block_map(inode, raw));
  if (map == BlockMap::extents) return {};
  return Error(EOPNOTSUPP, fmt::format("inode {}", filesystem::raw(inode)),
               map == BlockMap::none ? "it has no blocks of its own" : "its blocks are mapped in the way of ext3",
               map == BlockMap::none ? "" : "convert: e2fsck -E bmap2extent");
}

LogicalRange clip_to_file_blocks(PageRange range) {
  return LogicalRange{std::min(range.first.raw(), kLogicalEnd), std::min(range.end.raw(), kLogicalEnd)};
}

void append_record(ExtentList& list, ExtentRecord record, std::uint64_t blocks_per_cluster) {
  if (!list.empty() && joins(list.back(), record)) {
    list.back().count += record.count;
    return;
  }
  const std::uint64_t most = record.unwritten ? kUnwrittenBlocksMax : kWrittenBlocksMax;
  const std::uint64_t cut = record.unwritten ? unwritten_cut(blocks_per_cluster) : kWrittenBlocksMax;
  while (record.count > most) {
    list.push_back(ExtentRecord{record.logical, record.block, cut, record.unwritten});
    record.logical += cut;
    record.block += cut;
    record.count -= cut;
  }
  list.push_back(record);
}

Status records_around(Volume& volume, InodeNumber inode, const RawInode& raw, LogicalRange range, ExtentList& found) {
  ExtentCursor cursor(volume, inode, raw);
  // A record that ends where the range begins holds the block before it.
  HF_TRY(cursor.seek(range.first == 0 ? 0 : range.first - 1));
  while (!cursor.at_end() && cursor.record().logical <= range.end) {
    found.push_back(cursor.record());
    HF_TRY(cursor.next());
  }
  return {};
}

Status nearest_records(Volume& volume, InodeNumber inode, const RawInode& raw, LogicalRange range,
                       ExtentRecord& previous, ExtentRecord& next) {
  ExtentCursor cursor(volume, inode, raw);
  HF_TRY(cursor.seek(range.end));
  while (!cursor.at_end() && cursor.record().logical < range.end) HF_TRY(cursor.next());
  if (!cursor.at_end()) next = cursor.record();
  HF_TRY(cursor.seek(range.first));
  HF_ASSIGN(const bool any, cursor.previous());
  if (any) previous = cursor.record();
  return {};
}

std::vector<BlockRun> whole_clusters(const ExtentList& list, std::uint64_t blocks_per_cluster) {
  std::vector<BlockRun> runs;
  for (const ExtentRecord& record : list) {
    std::uint64_t first = round_down(record.block, blocks_per_cluster);
    const std::uint64_t end = round_up(record.block + record.count, blocks_per_cluster);
    if (!runs.empty()) {
      const std::uint64_t last_end = runs.back().first + runs.back().count;
      // The cluster that this record shares with its neighbour is counted already.
      if (last_end - blocks_per_cluster == first) first = last_end;
      if (first == end) continue;
      if (last_end == first) {
        runs.back().count += end - first;
        continue;
      }
    }
    runs.push_back(BlockRun{first, end - first});
  }
  return runs;
}

std::uint64_t count_clusters(const std::vector<BlockRun>& runs, std::uint64_t blocks_per_cluster) {
  std::uint64_t blocks = 0;
  for (const BlockRun& run : runs) blocks += run.count;
  return blocks / blocks_per_cluster;
}

}  // namespace holdfast::ext4
