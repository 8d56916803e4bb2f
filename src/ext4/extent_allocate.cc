// Filling the holes of a range: blocks first, then the tree's nodes, and only then the first change.
#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "base/check.h"
#include "base/fault_point.h"
#include "base/trace.h"
#include "ext4/extent_account.h"
#include "ext4/extent_edit.h"
#include "ext4/extent_list.h"
#include "ext4/extent_tree.h"

namespace holdfast::ext4 {

using filesystem::Extent;
using filesystem::Initial;

namespace {

// Gathers blocks for the holes of one file, and gives them back unless they are kept.
class HoleFiller {
 public:
  HoleFiller(Volume& volume, InodeNumber inode, bool large, bool unwritten, std::uint64_t pieces_max)
      : volume_(volume),
        inode_(inode),
        ratio_(volume.blocks_per_cluster()),
        large_(large),
        unwritten_(unwritten),
        pieces_max_(pieces_max) {}
  ~HoleFiller() {
    if (kept_) return;
    for (const BlockRun& run : taken_) volume_.unallocate(run);
  }
  HoleFiller(const HoleFiller&) = delete;
  HoleFiller& operator=(const HoleFiller&) = delete;

  // Blocks for [hole.first, hole.end). `previous` and `next` are the file's nearest records, null where there is none.
  // Answers where it stopped: at the end, or in front of one piece too many.
  Result<std::uint64_t> fill(LogicalRange hole, const ExtentRecord* previous, const ExtentRecord* next) {
    std::uint64_t at = hole.first;
    ExtentRecord last = previous == nullptr ? ExtentRecord{} : *previous;
    while (at < hole.end && pieces_.size() < pieces_max_) {
      ExtentRecord piece{at, 0, 0, unwritten_};
      const std::uint64_t cluster = round_down(at, ratio_);
      if (last.count != 0 && last.end() > cluster) {
        // The file owns a part of this cluster: the hole takes the rest of it.
        piece.block = round_down(last.block_at(last.end() - 1), ratio_) + (at - cluster);
        piece.count = std::min(hole.end, cluster + ratio_) - at;
      } else if (next != nullptr && round_down(next->logical, ratio_) == cluster) {
        piece.block = round_down(next->block, ratio_) + (at - cluster);
        piece.count = hole.end - at;
      } else {
        const std::uint64_t limit = next == nullptr ? hole.end : std::min(hole.end, round_down(next->logical, ratio_));
        HF_ASSIGN(const BlockRun run, take(at, limit - at, last, next));
        piece.block = run.first;
        piece.count = run.count;
      }
      pieces_.push_back(piece);
      last = piece;
      at += piece.count;
    }
    return at;
  }

  const ExtentList& pieces() const { return pieces_; }
  std::int64_t clusters() const { return static_cast<std::int64_t>(count_clusters(taken_, ratio_)); }
  void keep() { kept_ = true; }

 private:
  Result<BlockRun> take(std::uint64_t logical, std::uint64_t wanted, const ExtentRecord& last,
                        const ExtentRecord* next) {
    if (HF_FAULT_POINT("ext4.extent.data")) {
      return Error(ENOSPC, fmt::format("inode {}", filesystem::raw(inode_)), "no block for its data");
    }
    Goal goal;
    goal.near = place_for(logical, last, next);
    goal.congruent = large_;
    goal.logical = logical;
    goal.wanted = wanted;
    goal.keep_large_runs = !large_;
    HF_ASSIGN(const BlockRun run, volume_.allocate_data(goal));
    HF_CHECK(run.count > 0 && run.count <= wanted && run.first % ratio_ == logical % ratio_,
             "asked for {} blocks at {}, got {} at {}", wanted, logical, run.count, run.first);
    const BlockNumber first = round_down(run.first, ratio_);
    taken_.push_back(BlockRun{first, round_up(run.first + run.count, ratio_) - first});
    return run;
  }

  // Where the block would lie if the file were in one piece with its neighbour; the neighbour itself when that is far.
  BlockNumber place_for(std::uint64_t logical, const ExtentRecord& last, const ExtentRecord* next) const {
    constexpr std::uint64_t kFar = 32768;
    if (last.count != 0) {
      const std::uint64_t gap = logical - last.end();
      return last.block + last.count + (gap > kFar ? 0 : gap);
    }
    if (next != nullptr) {
      const std::uint64_t gap = next->logical - logical;
      return next->block > gap ? next->block - gap : next->block;
    }
    const ext2_super_block& super = volume_.superblock();
    const std::uint64_t group = (filesystem::raw(inode_) - 1) / super.s_inodes_per_group;
    return super.s_first_data_block + group * super.s_blocks_per_group;
  }

  Volume& volume_;
  const InodeNumber inode_;
  const std::uint64_t ratio_;
  const bool large_;
  const bool unwritten_;
  const std::uint64_t pieces_max_;
  ExtentList pieces_;
  std::vector<BlockRun> taken_;  // whole clusters
  bool kept_ = false;
};

std::uint64_t size_of(const RawInode& raw) { return (std::uint64_t{raw.body.i_size_high} << 32) | raw.body.i_size; }

void append_extents(std::vector<Extent>& added, const ExtentList& pieces) {
  const std::size_t known = added.size();
  for (const ExtentRecord& piece : pieces) {
    const Extent extent{PageIndex(piece.logical), Pfn(piece.block), PageCount(piece.count), piece.unwritten};
    if (added.size() > known) {
      Extent& last = added.back();
      if (last.index + last.count == extent.index && last.pfn + last.count == extent.pfn) {
        last.count += extent.count;
        continue;
      }
    }
    added.push_back(extent);
  }
}

}  // namespace

Result<PageIndex> allocate_extents(Volume& volume, InodeNumber inode, PageRange pages, Initial initial,
                                   std::vector<Extent>& added, std::uint64_t pieces_max) {
  HF_ASSIGN(RawInode* const raw_inode, volume.inode(inode));
  HF_TRY(require_extents(inode, *raw_inode));
  if (pages.empty()) return pages.end;
  if (pages.end.raw() > kLogicalEnd) {
    return Error(EFBIG, fmt::format("inode {}", filesystem::raw(inode)),
                 fmt::format("page {} is past the last one a file can have", pages.end.raw() - 1));
  }
  LogicalRange range{pages.first.raw(), pages.end.raw()};
  const std::uint64_t ratio = volume.blocks_per_cluster();

  // The neighbours decide where new blocks go, and with large clusters which they are.
  ExtentList before;
  HF_TRY(records_around(volume, inode, *raw_inode, range, before));
  ExtentRecord previous;
  ExtentRecord next;
  HF_TRY(nearest_records(volume, inode, *raw_inode, range, previous, next));

  const bool large = std::max(size_of(*raw_inode), PageCount(range.end).bytes()) >= kOrder2M.pages().bytes();
  HoleFiller filler(volume, inode, large, initial == Initial::unwritten, pieces_max);
  std::uint64_t at = range.first;
  const ExtentRecord* left = previous.count == 0 ? nullptr : &previous;
  for (const ExtentRecord& record : before) {
    if (record.end() <= at) continue;  // touches the range from before: it is `previous`
    if (record.logical >= range.end) break;
    if (record.logical > at) {
      HF_ASSIGN(at, filler.fill({at, record.logical}, left, &record));
      if (at < record.logical) break;
    }
    left = &record;
    at = record.end();
  }
  if (at < range.end && filler.pieces().size() < pieces_max) {
    HF_ASSIGN(at, filler.fill({at, range.end}, left, next.count == 0 ? nullptr : &next));
  }
  if (filler.pieces().empty()) return pages.end;
  // What lies behind is left to the next call.
  range.end = std::min(at, range.end);
  while (!before.empty() && before.back().logical > range.end) before.pop_back();

  ExtentList after;
  auto piece = filler.pieces().begin();
  const auto put_pieces_before = [&](std::uint64_t logical) {
    for (; piece != filler.pieces().end() && piece->logical < logical; ++piece) append_record(after, *piece, ratio);
  };
  for (const ExtentRecord& record : before) {
    put_pieces_before(record.logical);
    append_record(after, record, ratio);
  }
  put_pieces_before(kLogicalEnd);

  ExtentEdit edit(volume, inode, *raw_inode);
  HF_TRY(edit.plan(after.front().logical, after.back().end(), after, after.front().block));
  const std::int64_t growth = filler.clusters() + edit.growth();
  HF_TRY(check_account(volume, inode, *raw_inode, growth));
  account(volume, inode, *raw_inode, growth);
  filler.keep();
  append_extents(added, filler.pieces());
  HF_TRACE3(extent_allocate, filesystem::raw(inode), range.first, range.end - range.first);
  HF_TRY(edit.apply());
  return PageIndex(range.end);
}

}  // namespace holdfast::ext4
