// Blocks that leave a file: freed, or handed to another file where they lie.
#include <algorithm>
#include <cerrno>

#include <sys/stat.h>

#include <fmt/format.h>

#include "base/check.h"
#include "base/trace.h"
#include "ext4/extent_account.h"
#include "ext4/extent_cursor.h"
#include "ext4/extent_edit.h"
#include "ext4/extent_list.h"
#include "ext4/extent_tree.h"

namespace holdfast::ext4 {

namespace {

// What a removal takes out of a file, and what it leaves of the records it cuts.
struct Cut {
  LogicalRange range;  // whole clusters
  bool done = true;    // nothing of the range asked for is left before range.first
  ExtentList records;  // whole, as they are
  ExtentList leaving;  // the parts inside the range
  ExtentList staying;  // the parts outside
};

// The whole clusters inside the range. Past the last file block there is nothing that could stay.
LogicalRange whole_clusters_inside(PageRange pages, std::uint64_t ratio) {
  const LogicalRange range = clip_to_file_blocks(pages);
  const std::uint64_t end = range.end == kLogicalEnd ? kLogicalEnd : round_down(range.end, ratio);
  return LogicalRange{round_up(range.first, ratio), end};
}

// Collects the last `records_max` records of the range.
Result<Cut> find_cut(Volume& volume, InodeNumber inode, const RawInode& raw, LogicalRange range,
                     std::uint64_t records_max) {
  const std::uint64_t ratio = volume.blocks_per_cluster();
  Cut cut;
  cut.range = range;
  if (range.first >= range.end) return cut;
  ExtentCursor cursor(volume, inode, raw);
  HF_TRY(cursor.seek(range.end - 1));
  bool more = !cursor.at_end() && cursor.record().logical < range.end;
  if (!more) {
    HF_ASSIGN(more, cursor.previous());
  }
  for (; more && cursor.record().end() > range.first;) {
    const ExtentRecord& record = cursor.record();
    // Whole clusters leave: no stop inside one that a record already taken lies in.
    if (cut.records.size() >= records_max) {
      const std::uint64_t stop = round_down(cut.records.back().logical, ratio);
      if (record.end() <= stop) {
        cut.range.first = std::max(range.first, stop);
        cut.done = false;
        break;
      }
    }
    cut.records.push_back(record);
    HF_ASSIGN(more, cursor.previous());
  }
  std::reverse(cut.records.begin(), cut.records.end());
  for (const ExtentRecord& record : cut.records) {
    const std::uint64_t first = std::max(record.logical, cut.range.first);
    const std::uint64_t end = std::min(record.end(), cut.range.end);
    const auto part = [&record](std::uint64_t from, std::uint64_t to) {
      return ExtentRecord{from, record.block_at(from), to - from, record.unwritten};
    };
    if (record.logical < first) cut.staying.push_back(part(record.logical, first));
    cut.leaving.push_back(part(first, end));
    if (end < record.end()) cut.staying.push_back(part(end, record.end()));
  }
  return cut;
}

Status plan_cut(ExtentEdit& edit, const Cut& cut) {
  return edit.plan(cut.records.front().logical, cut.records.back().end(), cut.staying, cut.records.front().block);
}

Error invalid_move(InodeNumber to, int code, std::string reason) {
  return Error(code, fmt::format("inode {}", filesystem::raw(to)), std::move(reason));
}

}  // namespace

Result<PageIndex> remove_extents(Volume& volume, InodeNumber inode, PageRange pages, std::uint32_t extents_max) {
  HF_ASSIGN(RawInode* const raw_inode, volume.inode(inode));
  HF_ASSIGN(const BlockMap map, block_map(inode, *raw_inode));
  if (map == BlockMap::none || pages.empty()) return pages.first;
  HF_TRY(require_extents(inode, *raw_inode));
  const std::uint64_t ratio = volume.blocks_per_cluster();
  const LogicalRange range = whole_clusters_inside(pages, ratio);
  HF_ASSIGN(const Cut cut, find_cut(volume, inode, *raw_inode, range, std::max(extents_max, 1u)));
  if (cut.records.empty()) return pages.first;

  const std::vector<BlockRun> runs = whole_clusters(cut.leaving, ratio);
  ExtentEdit edit(volume, inode, *raw_inode);
  HF_TRY(plan_cut(edit, cut));
  const std::int64_t growth = edit.growth() - static_cast<std::int64_t>(count_clusters(runs, ratio));
  HF_TRY(check_account(volume, inode, *raw_inode, growth));
  account(volume, inode, *raw_inode, growth);
  Status freed = edit.apply();
  // Only the contents of directories and symbolic links are ever in the block cache.
  const bool cached = (raw_inode->body.i_mode & S_IFMT) != S_IFREG;
  for (const BlockRun& run : runs) {
    for (std::uint64_t i = 0; cached && i < run.count; ++i) volume.cache().forget(run.first + i);
    Status status = volume.free_blocks(run);
    if (!status && freed) freed = std::move(status);
  }
  HF_TRACE3(extent_remove, filesystem::raw(inode), cut.range.first, cut.records.size());
  HF_TRY(std::move(freed));
  return cut.done ? pages.first : PageIndex(cut.range.first);
}

Status move_extents(Volume& volume, InodeNumber from, PageRange pages, InodeNumber to, PageIndex to_index) {
  if (from == to) return invalid_move(to, EINVAL, "blocks cannot move inside one file");
  HF_ASSIGN(RawInode* const source, volume.inode(from));
  HF_ASSIGN(RawInode* const target, volume.inode(to));
  HF_TRY(require_extents(from, *source));
  HF_TRY(require_extents(to, *target));
  const std::uint64_t ratio = volume.blocks_per_cluster();
  if (pages.first.raw() % ratio != to_index.raw() % ratio) {
    return invalid_move(to, EINVAL, "blocks keep their place inside a cluster");
  }
  const LogicalRange range = whole_clusters_inside(pages, ratio);
  HF_ASSIGN(const Cut cut, find_cut(volume, from, *source, range, kLogicalEnd));
  if (cut.records.empty()) return {};

  // Where they go: the same distance from to_index as now from the range's first page.
  ExtentList arriving = cut.leaving;
  for (ExtentRecord& record : arriving) record.logical = record.logical - pages.first.raw() + to_index.raw();
  const LogicalRange place{arriving.front().logical, arriving.back().end()};
  if (place.end > kLogicalEnd) return invalid_move(to, EFBIG, "past the last page a file can have");
  const LogicalRange clusters{round_down(place.first, ratio), std::min(round_up(place.end, ratio), kLogicalEnd)};
  ExtentList around;
  HF_TRY(records_around(volume, to, *target, clusters, around));
  ExtentList after;
  auto next = arriving.begin();
  for (const ExtentRecord& record : around) {
    if (record.logical < clusters.end && record.end() > clusters.first) {
      return invalid_move(to, EEXIST, fmt::format("has blocks at page {} already", record.logical));
    }
    while (next != arriving.end() && next->logical < record.logical) append_record(after, *next++, ratio);
    append_record(after, record, ratio);
  }
  while (next != arriving.end()) append_record(after, *next++, ratio);

  ExtentEdit giving(volume, from, *source);
  ExtentEdit taking(volume, to, *target);
  HF_TRY(plan_cut(giving, cut));
  HF_TRY(taking.plan(after.front().logical, after.back().end(), after, after.front().block));
  const auto moved = static_cast<std::int64_t>(count_clusters(whole_clusters(cut.leaving, ratio), ratio));
  HF_TRY(check_account(volume, from, *source, giving.growth() - moved));
  HF_TRY(check_account(volume, to, *target, taking.growth() + moved));
  account(volume, from, *source, giving.growth() - moved);
  account(volume, to, *target, taking.growth() + moved);
  HF_TRACE3(extent_move, filesystem::raw(from), filesystem::raw(to), moved);
  Status given = giving.apply();
  HF_TRY(taking.apply());
  return given;
}

}  // namespace holdfast::ext4
