#include "ext4/group_table.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "device/copy.h"
#include "ext4/bitmap.h"
#include "ext4/checksum.h"
#include "ext4/journal_replay.h"

namespace holdfast::ext4 {
namespace {

std::uint64_t join(std::uint32_t low, std::uint32_t high) { return low | std::uint64_t{high} << 32; }
std::uint32_t join16(std::uint16_t low, std::uint16_t high) { return low | std::uint32_t{high} << 16; }
std::uint16_t low16(std::uint32_t value) { return static_cast<std::uint16_t>(value); }
std::uint16_t high16(std::uint32_t value) { return static_cast<std::uint16_t>(value >> 16); }

}  // namespace

GroupTable::GroupTable(const ext2_super_block& super, const Geometry& geometry, std::string device_name)
    : super_(super), geometry_(geometry), device_name_(std::move(device_name)) {}

Error GroupTable::broken(GroupNumber group, const std::string& what) const {
  return Error(EUCLEAN, device_name_, fmt::format("the descriptor of group {} is damaged: {}", group, what),
               "run e2fsck -f");
}

const ext4_group_desc* GroupTable::at(GroupNumber group) const {
  // Only the fields up to descriptor_bytes exist; wide() guards the others.
  return reinterpret_cast<const ext4_group_desc*>(descriptors_.data() +
                                                  std::size_t{group} * geometry_.descriptor_bytes);
}

ext4_group_desc* GroupTable::change(GroupNumber group) {
  const std::uint32_t block = group / geometry_.descriptors_per_block();
  changed_[group] = true;
  if (!block_listed_[block]) {
    block_listed_[block] = true;
    changed_blocks_.push_back(block);
  }
  return const_cast<ext4_group_desc*>(at(group));
}

std::uint64_t GroupTable::block_bitmap(GroupNumber group) const {
  return join(at(group)->bg_block_bitmap, wide() ? at(group)->bg_block_bitmap_hi : 0);
}
std::uint64_t GroupTable::inode_bitmap(GroupNumber group) const {
  return join(at(group)->bg_inode_bitmap, wide() ? at(group)->bg_inode_bitmap_hi : 0);
}
std::uint64_t GroupTable::inode_table(GroupNumber group) const {
  return join(at(group)->bg_inode_table, wide() ? at(group)->bg_inode_table_hi : 0);
}
std::uint32_t GroupTable::free_clusters(GroupNumber group) const {
  return join16(at(group)->bg_free_blocks_count, wide() ? at(group)->bg_free_blocks_count_hi : std::uint16_t{0});
}
std::uint32_t GroupTable::free_inodes(GroupNumber group) const {
  return join16(at(group)->bg_free_inodes_count, wide() ? at(group)->bg_free_inodes_count_hi : std::uint16_t{0});
}
std::uint32_t GroupTable::used_directories(GroupNumber group) const {
  return join16(at(group)->bg_used_dirs_count, wide() ? at(group)->bg_used_dirs_count_hi : std::uint16_t{0});
}
std::uint32_t GroupTable::unused_inodes(GroupNumber group) const {
  if (!geometry_.descriptor_checksums) return 0;
  return join16(at(group)->bg_itable_unused, wide() ? at(group)->bg_itable_unused_hi : std::uint16_t{0});
}
std::uint32_t GroupTable::flags(GroupNumber group) const {
  return geometry_.descriptor_checksums ? at(group)->bg_flags : 0;
}

void GroupTable::set_free_clusters(GroupNumber group, std::uint32_t count) {
  ext4_group_desc* descriptor = change(group);
  descriptor->bg_free_blocks_count = low16(count);
  if (wide()) descriptor->bg_free_blocks_count_hi = high16(count);
}
void GroupTable::set_free_inodes(GroupNumber group, std::uint32_t count) {
  ext4_group_desc* descriptor = change(group);
  descriptor->bg_free_inodes_count = low16(count);
  if (wide()) descriptor->bg_free_inodes_count_hi = high16(count);
}
void GroupTable::set_used_directories(GroupNumber group, std::uint32_t count) {
  ext4_group_desc* descriptor = change(group);
  descriptor->bg_used_dirs_count = low16(count);
  if (wide()) descriptor->bg_used_dirs_count_hi = high16(count);
}
void GroupTable::set_unused_inodes(GroupNumber group, std::uint32_t count) {
  ext4_group_desc* descriptor = change(group);
  descriptor->bg_itable_unused = low16(count);
  if (wide()) descriptor->bg_itable_unused_hi = high16(count);
}
void GroupTable::set_flags(GroupNumber group, std::uint32_t bits) {
  ext4_group_desc* descriptor = change(group);
  descriptor->bg_flags = static_cast<std::uint16_t>(descriptor->bg_flags | bits);
}
void GroupTable::clear_flags(GroupNumber group, std::uint32_t bits) {
  ext4_group_desc* descriptor = change(group);
  descriptor->bg_flags = static_cast<std::uint16_t>(descriptor->bg_flags & ~bits);
}

std::uint32_t GroupTable::bitmap_checksum(const std::byte* bitmap, std::size_t length) const {
  const std::uint32_t value = crc32c(geometry_.seed, bitmap, length);
  return wide() ? value : value & 0xffffu;
}

bool GroupTable::block_bitmap_verifies(GroupNumber group, const std::byte* bitmap) const {
  if (!geometry_.metadata_checksums) return true;
  const std::uint32_t stored =
      join16(at(group)->bg_block_bitmap_csum_lo, wide() ? at(group)->bg_block_bitmap_csum_hi : std::uint16_t{0});
  return stored == bitmap_checksum(bitmap, geometry_.clusters_per_group / 8);
}

bool GroupTable::inode_bitmap_verifies(GroupNumber group, const std::byte* bitmap) const {
  if (!geometry_.metadata_checksums) return true;
  const std::uint32_t stored =
      join16(at(group)->bg_inode_bitmap_csum_lo, wide() ? at(group)->bg_inode_bitmap_csum_hi : std::uint16_t{0});
  return stored == bitmap_checksum(bitmap, geometry_.inodes_per_group / 8);
}

void GroupTable::seal_block_bitmap(GroupNumber group, const std::byte* bitmap) {
  if (!geometry_.metadata_checksums) return;
  ext4_group_desc* descriptor = change(group);
  const std::uint32_t value = bitmap_checksum(bitmap, geometry_.clusters_per_group / 8);
  descriptor->bg_block_bitmap_csum_lo = low16(value);
  if (wide()) descriptor->bg_block_bitmap_csum_hi = high16(value);
}

void GroupTable::seal_inode_bitmap(GroupNumber group, const std::byte* bitmap) {
  if (!geometry_.metadata_checksums) return;
  ext4_group_desc* descriptor = change(group);
  const std::uint32_t value = bitmap_checksum(bitmap, geometry_.inodes_per_group / 8);
  descriptor->bg_inode_bitmap_csum_lo = low16(value);
  if (wide()) descriptor->bg_inode_bitmap_csum_hi = high16(value);
}

Status GroupTable::load(device::Device& device, const ReplayedBlocks* replayed) {
  descriptors_.resize(std::size_t{geometry_.descriptor_blocks} * kBlockBytes);
  for (std::uint32_t i = 0; i < geometry_.descriptor_blocks; ++i) {
    const Pfn pfn(descriptor_block_location(super_, geometry_, i));
    const std::byte* const newer = replayed != nullptr ? replayed->find(pfn.raw()) : nullptr;
    if (device::copy(descriptors_.data() + std::size_t{i} * kBlockBytes, newer != nullptr ? newer : device.at(pfn),
                     kBlockBytes) != device::CopyOutcome::done) {
      return Error(EIO, device_name_, fmt::format("reading group descriptor block {} failed", pfn.raw()));
    }
  }
  changed_.assign(geometry_.groups, false);
  block_listed_.assign(geometry_.descriptor_blocks, false);
  for (GroupNumber group = 0; group < geometry_.groups; ++group) HF_TRY(check_descriptor(group));
  collect_zones();
  return check_zones();
}

void GroupTable::adopt(std::vector<std::byte> descriptors) {
  descriptors_ = std::move(descriptors);
  changed_.assign(geometry_.groups, false);
  block_listed_.assign(geometry_.descriptor_blocks, false);
  for (GroupNumber group = 0; group < geometry_.groups; ++group) change(group);
  collect_zones();
  HF_CHECK(check_zones().has_value(), "G1: new group descriptors overlap");
}

Status GroupTable::check_descriptor(GroupNumber group) const {
  const auto* bytes = reinterpret_cast<const std::byte*>(at(group));
  if (geometry_.descriptor_checksums &&
      at(group)->bg_checksum != descriptor_checksum(super_, geometry_.seed, group, bytes, geometry_.descriptor_bytes)) {
    return broken(group, "its checksum does not match");
  }
  const bool anywhere = (super_.s_feature_incompat & EXT4_FEATURE_INCOMPAT_FLEX_BG) != 0;
  const std::uint64_t low = anywhere ? 1 : std::max<std::uint64_t>(1, geometry_.first_block(group));
  const std::uint64_t end = anywhere
                                ? geometry_.blocks
                                : std::min(geometry_.blocks, geometry_.first_block(group) + geometry_.blocks_per_group);
  const auto inside = [&](std::uint64_t first, std::uint64_t count) {
    return first >= low && first < end && count <= end - first;
  };
  if (!inside(block_bitmap(group), 1)) return broken(group, fmt::format("block bitmap at {}", block_bitmap(group)));
  if (!inside(inode_bitmap(group), 1)) return broken(group, fmt::format("inode bitmap at {}", inode_bitmap(group)));
  if (!inside(inode_table(group), geometry_.inode_table_blocks)) {
    return broken(group, fmt::format("inode table at {}", inode_table(group)));
  }
  if (free_clusters(group) > geometry_.group_clusters(group)) {
    return broken(group, fmt::format("{} free clusters", free_clusters(group)));
  }
  if (free_inodes(group) > geometry_.inodes_per_group) {
    return broken(group, fmt::format("{} free inodes", free_inodes(group)));
  }
  if (used_directories(group) > geometry_.inodes_per_group) {
    return broken(group, fmt::format("{} directories", used_directories(group)));
  }
  if (unused_inodes(group) > geometry_.inodes_per_group) {
    return broken(group, fmt::format("{} unused inodes", unused_inodes(group)));
  }
  return {};
}

void GroupTable::collect_zones() {
  zones_.clear();
  zones_.reserve(std::size_t{geometry_.groups} * 3 + 16);
  for (GroupNumber group = 0; group < geometry_.groups; ++group) {
    const std::uint64_t base = geometry_.first_block(group);
    if (const std::uint64_t count = group_base_blocks(super_, geometry_, group); count != 0) {
      zones_.push_back({base, std::min(base + count, geometry_.blocks)});
    }
    zones_.push_back({block_bitmap(group), block_bitmap(group) + 1});
    zones_.push_back({inode_bitmap(group), inode_bitmap(group) + 1});
    zones_.push_back({inode_table(group), inode_table(group) + geometry_.inode_table_blocks});
  }
  const auto by_first = [](const BlockZone& a, const BlockZone& b) { return a.first < b.first; };
  if (!std::is_sorted(zones_.begin(), zones_.end(), by_first)) std::sort(zones_.begin(), zones_.end(), by_first);
}

// Also merges neighbours, once it is known that none overlap.
Status GroupTable::check_zones() {
  std::size_t last = 0;
  for (std::size_t i = 1; i < zones_.size(); ++i) {
    if (zones_[i].first < zones_[last].end) {
      return Error(EUCLEAN, device_name_,
                   fmt::format("the group descriptors are damaged: block {} belongs to two of them", zones_[i].first),
                   "run e2fsck -f");
    }
    if (zones_[i].first == zones_[last].end) {
      zones_[last].end = zones_[i].end;
    } else {
      zones_[++last] = zones_[i];
    }
  }
  zones_.resize(last + 1);
  zones_.shrink_to_fit();
  return {};
}

bool GroupTable::overlaps_metadata(std::uint64_t first, std::uint64_t count) const {
  const auto after = std::upper_bound(zones_.begin(), zones_.end(), first,
                                      [](std::uint64_t block, const BlockZone& zone) { return block < zone.end; });
  return after != zones_.end() && after->first < first + count;
}

std::uint64_t GroupTable::metadata_clusters() const {
  std::uint64_t clusters = 0;
  std::uint64_t next = 0;  // first cluster not counted yet
  for (const BlockZone& zone : zones_) {
    const std::uint64_t first = std::max(next, geometry_.cluster_of(zone.first));
    const std::uint64_t end = geometry_.cluster_of(zone.end - 1) + 1;
    if (end > first) clusters += end - first;
    next = std::max(next, end);
  }
  return clusters;
}

template <typename Visit>
void GroupTable::for_metadata(GroupNumber group, Visit visit) const {
  const std::uint64_t base = geometry_.first_cluster(group);
  const std::uint64_t first = geometry_.first_block(group);
  const std::uint64_t end = std::min(geometry_.blocks, first + geometry_.blocks_per_group);
  auto zone = std::upper_bound(zones_.begin(), zones_.end(), first,
                               [](std::uint64_t block, const BlockZone& other) { return block < other.end; });
  for (; zone != zones_.end() && zone->first < end; ++zone) {
    const std::uint64_t low = geometry_.cluster_of(std::max(zone->first, first)) - base;
    const std::uint64_t high = geometry_.cluster_of(std::min(zone->end, end) - 1) + 1 - base;
    visit(static_cast<std::uint32_t>(low), static_cast<std::uint32_t>(high - low));
  }
}

std::uint32_t GroupTable::make_block_bitmap(GroupNumber group, std::byte* bitmap) const {
  std::memset(bitmap, 0, kBlockBytes);
  for_metadata(group, [bitmap](std::uint32_t first, std::uint32_t count) { set_bits(bitmap, first, count); });
  const std::uint32_t clusters = geometry_.group_clusters(group);
  set_bits(bitmap, clusters, kBitmapBits - clusters);
  return BitView(bitmap).count_free(0, clusters);
}

void GroupTable::make_inode_bitmap(std::byte* bitmap) const {
  std::memset(bitmap, 0, kBlockBytes);
  set_bits(bitmap, geometry_.inodes_per_group, kBitmapBits - geometry_.inodes_per_group);
}

bool GroupTable::bitmap_covers_metadata(GroupNumber group, const std::byte* bitmap) const {
  bool covers = true;
  const BitView view(bitmap);
  for_metadata(group, [&](std::uint32_t first, std::uint32_t count) {
    covers = covers && view.next_free(first, first + count) == first + count;
  });
  return covers;
}

void GroupTable::seal_checksum(GroupNumber group) {
  if (!geometry_.descriptor_checksums) return;
  auto* descriptor = const_cast<ext4_group_desc*>(at(group));
  descriptor->bg_checksum = descriptor_checksum(
      super_, geometry_.seed, group, reinterpret_cast<const std::byte*>(descriptor), geometry_.descriptor_bytes);
}

void GroupTable::seal_checksums() {
  for (GroupNumber group = 0; group < geometry_.groups; ++group) {
    if (changed_[group]) seal_checksum(group);
  }
}

Status GroupTable::seal(BlockCache& cache) {
  const std::uint32_t per_block = geometry_.descriptors_per_block();
  for (const std::uint32_t index : changed_blocks_) {
    HF_ASSIGN(BlockRef block, cache.read(descriptor_block_location(super_, geometry_, index), BlockKind::group_table));
    std::byte* home = cache.modify(block);
    const GroupNumber end = std::min(geometry_.groups, (index + 1) * per_block);
    for (GroupNumber group = index * per_block; group < end; ++group) {
      if (!changed_[group]) continue;
      changed_[group] = false;
      seal_checksum(group);
      std::memcpy(home + std::size_t{group % per_block} * geometry_.descriptor_bytes, at(group),
                  geometry_.descriptor_bytes);
    }
    block_listed_[index] = false;
  }
  changed_blocks_.clear();
  return {};
}

}  // namespace holdfast::ext4
