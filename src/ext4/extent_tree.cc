#include "ext4/extent_tree.h"

#include <algorithm>

#include "ext4/extent_account.h"
#include "ext4/extent_cursor.h"
#include "ext4/extent_edit.h"
#include "ext4/extent_indirect.h"
#include "ext4/extent_list.h"

namespace holdfast::ext4 {

using filesystem::Extent;

namespace {

// Takes clipped records and hands out extents, neighbours joined.
class ExtentCollector {
 public:
  ExtentCollector(LogicalRange range, std::vector<Extent>& found) : range_(range), found_(found) {}

  void add(const ExtentRecord& record) {
    const std::uint64_t first = std::max(record.logical, range_.first);
    const std::uint64_t end = std::min(record.end(), range_.end);
    if (first >= end) return;
    const Extent extent{PageIndex(first), Pfn(record.block_at(first)), PageCount(end - first), record.unwritten};
    if (added_) {
      Extent& last = found_.back();
      if (last.index + last.count == extent.index && last.pfn + last.count == extent.pfn &&
          last.unwritten == extent.unwritten) {
        last.count += extent.count;
        return;
      }
    }
    found_.push_back(extent);
    added_ = true;
  }

 private:
  const LogicalRange range_;
  std::vector<Extent>& found_;
  bool added_ = false;
};

// Adds the record to the list, the part of it inside the range with the new state.
void append_with_state(ExtentList& list, const ExtentRecord& record, LogicalRange range, bool unwritten,
                       std::uint64_t ratio) {
  const std::uint64_t cuts[] = {record.logical, std::clamp(range.first, record.logical, record.end()),
                                std::clamp(range.end, record.logical, record.end()), record.end()};
  for (std::size_t part = 0; part < 3; ++part) {
    if (cuts[part] == cuts[part + 1]) continue;
    append_record(list,
                  ExtentRecord{cuts[part], record.block_at(cuts[part]), cuts[part + 1] - cuts[part],
                               part == 1 ? unwritten : record.unwritten},
                  ratio);
  }
}

Status set_state(Volume& volume, InodeNumber inode, PageRange pages, bool unwritten) {
  HF_ASSIGN(RawInode* const raw_inode, volume.inode(inode));
  HF_TRY(require_extents(inode, *raw_inode));
  const LogicalRange range = clip_to_file_blocks(pages);
  if (range.first >= range.end) return {};
  ExtentList before;
  HF_TRY(records_around(volume, inode, *raw_inode, range, before));
  const bool any = std::any_of(before.begin(), before.end(), [&](const ExtentRecord& record) {
    return record.unwritten != unwritten && record.logical < range.end && record.end() > range.first;
  });
  if (!any) return {};
  ExtentList after;
  for (const ExtentRecord& record : before) {
    append_with_state(after, record, range, unwritten, volume.blocks_per_cluster());
  }
  ExtentEdit edit(volume, inode, *raw_inode);
  HF_TRY(edit.plan(before.front().logical, before.back().end(), after, before.front().block));
  HF_TRY(check_account(volume, inode, *raw_inode, edit.growth()));
  account(volume, inode, *raw_inode, edit.growth());
  return edit.apply();
}

}  // namespace

void make_extent_root(RawInode& raw) {
  raw.body.i_flags |= EXT4_EXTENTS_FL;
  write_root(raw, 0, {});
}

Status find_extents(Volume& volume, InodeNumber inode, PageRange pages, std::vector<Extent>& found) {
  HF_ASSIGN(RawInode* const raw_inode, volume.inode(inode));
  HF_ASSIGN(const BlockMap map, block_map(inode, *raw_inode));
  const LogicalRange range = clip_to_file_blocks(pages);
  if (map == BlockMap::none || range.first >= range.end) return {};
  const std::size_t known = found.size();
  ExtentCollector collector(range, found);
  const auto collect = [&]() -> Status {
    if (map == BlockMap::indirect) {
      ExtentList records;
      HF_TRY(find_indirect(volume, inode, *raw_inode, range, records));
      for (const ExtentRecord& record : records) collector.add(record);
      return {};
    }
    ExtentCursor cursor(volume, inode, *raw_inode);
    HF_TRY(cursor.seek(range.first));
    while (!cursor.at_end() && cursor.record().logical < range.end) {
      collector.add(cursor.record());
      HF_TRY(cursor.next());
    }
    return {};
  };
  Status status = collect();
  if (!status) found.resize(known);
  return status;
}

Status mark_written(Volume& volume, InodeNumber inode, PageRange range) {
  return set_state(volume, inode, range, false);
}

Status mark_unwritten(Volume& volume, InodeNumber inode, PageRange range) {
  return set_state(volume, inode, range, true);
}

}  // namespace holdfast::ext4
