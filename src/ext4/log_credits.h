// How many blocks an operation may change, for the journal: what J5 of journal.h is kept by.
//
// A handle sets its credits aside when it begins, and the transaction is committed first when the log has no room for
// them. They cover all that an operation changes, but for two that can touch any number of groups and stop in time: a
// removal of extents does as many as there is room for, an allocation of data is refused (VolumeCore::allocate_data).
#pragma once

#include <cstdint>

#include "ext4/superblock.h"
#include "filesystem/format.h"

namespace holdfast::ext4 {

// Metadata blocks that an operation may take from free space at worst. A name can split a leaf and every node above it,
// and its directory's extents may need a node; extents fill nodes of 340 records, kept at least a third full.
inline std::uint64_t metadata_blocks(const filesystem::Reservation& reservation) {
  constexpr std::uint64_t kPerName = 6;
  constexpr std::uint64_t kTreeDepth = 5;
  std::uint64_t blocks = std::uint64_t{reservation.names} * kPerName + reservation.attribute_blocks;
  if (reservation.names != 0) blocks += kTreeDepth;
  if (reservation.extents != 0) blocks += kTreeDepth + reservation.extents / 100;
  return blocks;
}

// Groups that one extent of a file may lie in.
inline std::uint64_t groups_of_extent(const Geometry& geometry) {
  constexpr std::uint64_t kExtentBlocksMax = 32768;
  return kExtentBlocksMax / geometry.blocks_per_group + 2;
}

// Extents that the credits pay for; more only while there is room.
inline constexpr std::uint32_t kExtentsInCredits = 16;

inline std::uint64_t log_credits(const filesystem::Reservation& reservation, const Geometry& geometry) {
  // The superblock, the orphan file, or the two neighbours in the orphan list.
  constexpr std::uint64_t kAlways = 4;
  const std::uint64_t fresh = metadata_blocks(reservation);
  const std::uint64_t extents = reservation.extents < kExtentsInCredits ? reservation.extents : kExtentsInCredits;
  // Of a name: the leaf and the nodes above it; of extents: a leaf each, where they lie scattered as those of a file
  // that is recorded, and two ways down the tree; of an attribute block: the old one.
  constexpr std::uint32_t kLeaves = 260;
  const std::uint64_t changed = std::uint64_t{reservation.names} * 6 +
                                (reservation.extents < kLeaves ? reservation.extents : kLeaves) +
                                (reservation.extents != 0 ? 10 : 0) + reservation.attribute_blocks;
  // An inode has its table block, which may be the first of its part of the table, and its bitmap.
  const std::uint64_t inodes = std::uint64_t{reservation.inodes} * 3;
  // Each change of free space has a bitmap and a descriptor.
  const std::uint64_t places =
      fresh + reservation.inodes + reservation.attribute_blocks + extents * groups_of_extent(geometry);
  const std::uint64_t bitmaps = places < geometry.groups ? places : geometry.groups;
  const std::uint64_t descriptors = places < geometry.descriptor_blocks ? places : geometry.descriptor_blocks;
  return kAlways + inodes + fresh + changed + bitmaps + descriptors;
}

}  // namespace holdfast::ext4
