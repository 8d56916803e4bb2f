#include "ext4/allocator.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "base/fault_point.h"
#include "device/describe.h"

namespace holdfast::ext4 {

Allocator::Allocator(device::Device& device, BlockCache& cache, const Geometry& geometry, GroupTable& groups)
    : device_(device), cache_(cache), geometry_(geometry), groups_(groups) {
  unit_clusters_ = static_cast<std::uint32_t>(kUnitBlocks >> geometry.cluster_shift);
}

void Allocator::load() {
  spaces_.clear();
  spaces_.resize(geometry_.groups);
  free_ = 0;
  for (GroupNumber group = 0; group < geometry_.groups; ++group) {
    spaces_[group].usable = groups_.free_clusters(group);
    free_ += spaces_[group].usable;
  }
  kept_ = std::min<std::uint64_t>(geometry_.clusters() / 50, 4096);
}

std::uint32_t Allocator::unit_of(GroupNumber group, std::uint32_t bit) const {
  const std::uint64_t base = geometry_.first_cluster(group);
  return static_cast<std::uint32_t>((base + bit) / unit_clusters_ - base / unit_clusters_);
}

std::uint32_t Allocator::unit_first(GroupNumber group, std::uint32_t unit) const {
  const std::uint64_t base = geometry_.first_cluster(group);
  const std::uint64_t first = (base / unit_clusters_ + unit) * unit_clusters_;
  return static_cast<std::uint32_t>(std::max(first, base) - base);
}

std::uint32_t Allocator::unit_end(GroupNumber group, std::uint32_t unit) const {
  const std::uint64_t base = geometry_.first_cluster(group);
  const std::uint64_t end = (base / unit_clusters_ + unit + 1) * unit_clusters_ - base;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(end, geometry_.group_clusters(group)));
}

BitView Allocator::view(const BlockRef& bits, GroupNumber group) const {
  return BitView(bits.data(), spaces_[group].kept_bits.get());
}

// While a group's bitmap is not initialized its block holds anything; the contents follow from the layout alone.
Result<BlockRef> Allocator::bitmap(GroupNumber group) {
  const std::uint64_t block = groups_.block_bitmap(group);
  if ((groups_.flags(group) & EXT2_BG_BLOCK_UNINIT) == 0) return cache_.read(block, BlockKind::block_bitmap, group);
  HF_ASSIGN(BlockRef bits, cache_.fresh(block, BlockKind::block_bitmap, group));
  groups_.make_block_bitmap(group, bits.block()->data.data());
  return bits;
}

Status Allocator::load_group(GroupNumber group) {
  GroupSpace& space = spaces_[group];
  if (space.loaded) return {};
  HF_ASSIGN(const BlockRef bits, bitmap(group));
  const BitView free_bits(bits.data());
  const std::uint32_t clusters = geometry_.group_clusters(group);
  const std::uint32_t counted = free_bits.count_free(0, clusters);
  if (counted != groups_.free_clusters(group)) {
    return Error(EUCLEAN, device_.name(),
                 fmt::format("group {} has {} free clusters in its bitmap but {} in its descriptor", group, counted,
                             groups_.free_clusters(group)),
                 "run e2fsck -f");
  }
  const std::uint32_t units = unit_of(group, clusters - 1) + 1;
  space.unit_free.resize(units);
  space.whole_units = 0;
  for (std::uint32_t unit = 0; unit < units; ++unit) {
    const std::uint32_t free_here = free_bits.count_free(unit_first(group, unit), unit_end(group, unit));
    space.unit_free[unit] = static_cast<std::uint16_t>(free_here);
    if (free_here == unit_clusters_) ++space.whole_units;
  }
  space.loaded = true;
  return {};
}

// A3 after a change of usable clusters.
void Allocator::count_units(GroupNumber group, std::uint32_t first, std::uint32_t count, bool freed) {
  GroupSpace& space = spaces_[group];
  const std::uint32_t end = first + count;
  while (first < end) {
    const std::uint32_t unit = unit_of(group, first);
    const std::uint32_t here = std::min(end, unit_end(group, unit)) - first;
    std::uint16_t& free_here = space.unit_free[unit];
    if (free_here == unit_clusters_) --space.whole_units;
    free_here = static_cast<std::uint16_t>(freed ? free_here + here : free_here - here);
    if (free_here == unit_clusters_) ++space.whole_units;
    first += here;
  }
}

Status Allocator::take(const Found& found) {
  const auto [group, run] = found;
  GroupSpace& space = spaces_[group];
  HF_ASSIGN(BlockRef bits, bitmap(group));
  HF_CHECK(view(bits, group).next_taken(run.first, run.first + run.count) == run.first + run.count,
           "A2: clusters {}+{} of group {} are not free", run.first, run.count, group);
  set_bits(cache_.modify(bits), run.first, run.count);
  if ((groups_.flags(group) & EXT2_BG_BLOCK_UNINIT) != 0) groups_.clear_flags(group, EXT2_BG_BLOCK_UNINIT);
  groups_.set_free_clusters(group, groups_.free_clusters(group) - run.count);
  if (!space.changed) {
    space.changed = true;
    changed_.push_back(group);
  }
  count_units(group, run.first, run.count, false);
  space.usable -= run.count;
  free_ -= run.count;
  if (distrusting_) {
    if (space.new_bits == nullptr) space.new_bits = std::make_unique<std::byte[]>(kBlockBytes);
    set_bits(space.new_bits.get(), run.first, run.count);
  }
  return {};
}

Status Allocator::give(GroupNumber group, BitRun run, bool at_once) {
  GroupSpace& space = spaces_[group];
  HF_ASSIGN(BlockRef bits, bitmap(group));
  clear_bits(cache_.modify(bits), run.first, run.count);
  groups_.set_free_clusters(group, groups_.free_clusters(group) + run.count);
  if (!space.changed) {
    space.changed = true;
    changed_.push_back(group);
  }
  free_ += run.count;
  if (at_once) {
    ++taken_back_;
    count_units(group, run.first, run.count, true);
    space.usable += run.count;
    return {};
  }
  keep(group, run);
  if (!std::exchange(space.has_pending, true)) with_pending_.push_back(group);
  pending_ += run.count;
  return {};
}

// visit(group, clusters of it) for every group that the run touches; clusters are rounded outward.
Status Allocator::for_groups(BlockRun run, const std::function<Status(GroupNumber, BitRun)>& visit) {
  std::uint64_t cluster = geometry_.cluster_of(run.first);
  const std::uint64_t end = geometry_.cluster_of(run.first + run.count - 1) + 1;
  while (cluster < end) {
    const auto group = static_cast<GroupNumber>(cluster / geometry_.clusters_per_group);
    const std::uint64_t base = geometry_.first_cluster(group);
    const std::uint64_t stop = std::min(end, base + geometry_.clusters_per_group);
    HF_TRY(
        visit(group, BitRun{static_cast<std::uint32_t>(cluster - base), static_cast<std::uint32_t>(stop - cluster)}));
    cluster = stop;
  }
  return {};
}

Status Allocator::free_blocks(BlockRun run) {
  if (run.count == 0) return {};
  if (run.first >= geometry_.blocks || run.count > geometry_.blocks - run.first ||
      groups_.overlaps_metadata(run.first, run.count)) {
    return Error(EUCLEAN, device_.name(), fmt::format("blocks {}+{} cannot belong to a file", run.first, run.count),
                 "run e2fsck -f");
  }
  // Everything is looked at before anything is changed.
  Status owned = for_groups(run, [this](GroupNumber group, BitRun clusters) -> Status {
    HF_TRY(load_group(group));
    HF_ASSIGN(const BlockRef bits, bitmap(group));
    const std::uint32_t end = clusters.first + clusters.count;
    if (const std::uint32_t free_bit = BitView(bits.data()).next_free(clusters.first, end); free_bit != end) {
      return Error(EUCLEAN, device_.name(),
                   fmt::format("a file owns cluster {} of group {}, which is marked free", free_bit, group),
                   "run e2fsck -f");
    }
    return {};
  });
  if (!owned) return owned;
  return for_groups(run, [this](GroupNumber group, BitRun clusters) { return give(group, clusters, false); });
}

void Allocator::unallocate(BlockRun run) {
  if (run.count == 0) return;
  const Status status =
      for_groups(run, [this](GroupNumber group, BitRun clusters) { return give(group, clusters, true); });
  HF_CHECK(status.has_value(), "A1: undoing an allocation of {}+{}: {}", run.first, run.count,
           status.error().message());
}

Status Allocator::seal() {
  for (const GroupNumber group : changed_) {
    HF_ASSIGN(const BlockRef bits, bitmap(group));
    groups_.seal_block_bitmap(group, bits.data());
    spaces_[group].changed = false;
  }
  changed_.clear();
  return {};
}

Status Allocator::initialize(GroupNumber group) {
  if ((groups_.flags(group) & EXT2_BG_BLOCK_UNINIT) == 0) return {};
  HF_TRY(load_group(group));
  HF_ASSIGN(BlockRef bits, bitmap(group));
  cache_.modify(bits);
  groups_.clear_flags(group, EXT2_BG_BLOCK_UNINIT);
  if (!spaces_[group].changed) {
    spaces_[group].changed = true;
    changed_.push_back(group);
  }
  return {};
}

Result<bool> Allocator::is_free(BlockNumber block) {
  if (block >= geometry_.blocks) return false;
  const GroupNumber group = geometry_.group_of(block);
  HF_ASSIGN(const BlockRef bits, bitmap(group));
  return !BitView(bits.data())
              .taken(static_cast<std::uint32_t>(geometry_.cluster_of(block) - geometry_.first_cluster(group)));
}

bool Allocator::reserve(std::uint64_t clusters, bool may_use_kept) {
  const std::uint64_t claimed = reserved_ + (may_use_kept ? 0 : kept_);
  if (usable_clusters() < claimed + clusters) {
    ran_out_ = true;
    return false;
  }
  reserved_ += clusters;
  return true;
}

void Allocator::unreserve(std::uint64_t clusters) {
  HF_CHECK(clusters <= reserved_, "reserved {} clusters, giving back {}", reserved_, clusters);
  reserved_ -= clusters;
}

Error Allocator::full() {
  ran_out_ = true;
  return no_space();
}

Error Allocator::no_space() const {
  if (withheld_ == 0 || !distrusting_) return {ENOSPC, device_.name(), "no space left"};
  const std::uint64_t bytes = (withheld_ << geometry_.cluster_shift) * kBlockBytes;
  return {ENOSPC, device_.name(),
          fmt::format("no space left but for {} to which transfers of a process that died may be under way",
                      device::describe_bytes(bytes)),
          "unmount and mount again, or say that they are over (Filesystem::trust_memory)"};
}

Allocator::Wish Allocator::wish_for(BlockNumber near, std::uint64_t logical, std::uint64_t clusters) const {
  Wish wish;
  wish.wanted = static_cast<std::uint32_t>(std::min<std::uint64_t>(clusters, geometry_.clusters_per_group));
  wish.in_unit = static_cast<std::uint32_t>((logical >> geometry_.cluster_shift) % unit_clusters_);
  if (near != 0 && near < geometry_.blocks) {
    wish.near = true;
    wish.group = geometry_.group_of(near);
    wish.bit = static_cast<std::uint32_t>(geometry_.cluster_of(near) - geometry_.first_cluster(wish.group));
  } else {
    wish.group = rotor_ < geometry_.groups ? rotor_ : 0;
  }
  return wish;
}

Result<BlockRun> Allocator::allocate_data(const Goal& goal) {
  HF_CHECK(goal.wanted > 0, "an allocation of nothing");
  const std::uint64_t per_cluster = geometry_.blocks_per_cluster();
  const std::uint64_t in_cluster = goal.logical % per_cluster;
  const std::uint64_t claimed = reserved_ + kept_;
  if (usable_clusters() <= claimed || HF_FAULT_POINT("ext4.allocate_data")) return full();
  const std::uint64_t clusters =
      std::min((in_cluster + goal.wanted + per_cluster - 1) / per_cluster, usable_clusters() - claimed);

  const Wish wish = wish_for(goal.near, goal.logical, clusters);
  const bool large = goal.congruent || !goal.keep_large_runs;
  HF_ASSIGN(const Found found, large ? find_large(wish) : find_small(wish));
  if (found.run.count == 0) return full();
  HF_TRY(take(found));
  const std::uint64_t first = (geometry_.first_cluster(found.group) + found.run.first) << geometry_.cluster_shift;
  const BlockRun run{first + in_cluster,
                     std::min(goal.wanted, (std::uint64_t{found.run.count} << geometry_.cluster_shift) - in_cluster)};
  if (Status reserved = device_.reserve(Pfn(run.first), PageCount(run.count)); !reserved) {
    HF_TRY(give(found.group, found.run, true));
    return std::move(reserved).error();
  }
  if (large) rotor_ = found.group;
  return run;
}

Result<BlockNumber> Allocator::allocate_metadata(BlockNumber near) {
  const bool charged = charged_ != nullptr && *charged_ > 0;
  if (usable_clusters() <= reserved_ - (charged ? 1 : 0) || HF_FAULT_POINT("ext4.allocate_metadata")) return full();
  HF_ASSIGN(const Found found, find_small(wish_for(near, 0, 1)));
  if (found.run.count == 0) return full();
  HF_TRY(take(found));
  const BlockNumber block = (geometry_.first_cluster(found.group) + found.run.first) << geometry_.cluster_shift;
  if (Status reserved = device_.reserve(Pfn(block), PageCount(1)); !reserved) {
    HF_TRY(give(found.group, found.run, true));
    return std::move(reserved).error();
  }
  if (charged) {
    --*charged_;
    --reserved_;
  }
  return block;
}

}  // namespace holdfast::ext4
