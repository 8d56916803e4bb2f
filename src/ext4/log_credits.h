// How many blocks an operation may change, for the journal: what J5 of journal.h is kept by.
//
// A handle sets its credits aside when it begins, and the transaction is committed first when the log has no room for
// them. They cover all that an operation changes, but for what any number of extents may change, which lie in any
// number of groups: of those they cover a few. An allocation and a removal go as far as there is room beyond the
// credits of others, and go on in another handle; so there is always room for a few.
#pragma once

#include <algorithm>
#include <cstdint>

#include "ext4/superblock.h"
#include "filesystem/format.h"

namespace holdfast::ext4 {

// Metadata blocks that an operation may take from free space at worst. A name can split a leaf and every node above it,
// and its directory's extents may need a node; extents fill nodes of 340 records, kept at least a third full.
inline std::uint64_t metadata_blocks(const filesystem::Reservation& reservation) {
  constexpr std::uint64_t kPerName = 6;
  constexpr std::uint64_t kTreeDepth = 5;
  std::uint64_t blocks =
      std::uint64_t{reservation.names} * kPerName + reservation.attribute_blocks + reservation.extent_nodes;
  if (reservation.names != 0) blocks += kTreeDepth;
  if (reservation.extents != 0) blocks += kTreeDepth + reservation.extents / 100;
  return blocks;
}

// Groups that one extent of a file may lie in.
inline std::uint64_t groups_of_extent(const Geometry& geometry) {
  constexpr std::uint64_t kExtentBlocksMax = 32768;
  return kExtentBlocksMax / geometry.blocks_per_group + 2;
}

// Extents whose space the credits pay for; more only while there is room.
inline constexpr std::uint32_t kExtentsInCredits = 16;
// Leaves that they pay for, a leaf for each extent, where they lie scattered as those of a file that is recorded.
inline constexpr std::uint32_t kLeavesInCredits = 260;

// `log_blocks`: what one transaction may change at most.
inline std::uint64_t log_credits(filesystem::Reservation reservation, const Geometry& geometry,
                                 std::uint64_t log_blocks) {
  // The superblock, the orphan file, or the two neighbours in the orphan list.
  constexpr std::uint64_t kAlways = 4;
  const std::uint64_t paid = std::min(reservation.extents, kExtentsInCredits);
  reservation.extents = std::min(reservation.extents, kLeavesInCredits);
  const std::uint64_t fresh = metadata_blocks(reservation);
  // Of a name: the leaf and the nodes above it; of extents: their leaves, and two ways down the tree; of an attribute
  // block: the old one.
  const std::uint64_t changed = std::uint64_t{reservation.names} * 6 + reservation.extents +
                                (reservation.extents != 0 ? 10 : 0) + reservation.extent_nodes +
                                reservation.attribute_blocks;
  // An inode has its table block, which may be the first of its part of the table, and its bitmap.
  const std::uint64_t inodes = std::uint64_t{reservation.inodes} * 3;
  // Each change of free space has a bitmap and a descriptor. Where groups are small one extent lies in many of them,
  // and a small log pays for that one only.
  const std::uint64_t of_extent = groups_of_extent(geometry);
  const std::uint64_t spread = paid == 0 ? 0 : std::max(of_extent, std::min(paid * of_extent, log_blocks / 8));
  const std::uint64_t places = fresh + reservation.inodes + reservation.attribute_blocks + spread;
  return kAlways + inodes + fresh + changed + std::min<std::uint64_t>(places, geometry.groups) +
         std::min<std::uint64_t>(places, geometry.descriptor_blocks);
}

// Extents that may be freed where so many blocks may change: the space of each, its leaf, and the ways down the tree.
inline std::uint32_t extents_to_free(std::uint64_t room, const Geometry& geometry) {
  constexpr std::uint64_t kBesides = 24;
  const std::uint64_t each = 2 * groups_of_extent(geometry) + 3;
  return static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(room > kBesides ? (room - kBesides) / each : 0, 1, 1U << 20));
}

// Pieces of free space that may be taken for a file: of each its bitmap and descriptor, as far as there are so many,
// and records in nodes that are a third full, as are those of the extents between them.
inline std::uint64_t pieces_to_take(std::uint64_t room, const Geometry& geometry) {
  constexpr std::uint64_t kBesides = 24;
  constexpr std::uint64_t kPiecesANode = 40;
  const auto changed = [&geometry](std::uint64_t pieces) {
    const std::uint64_t nodes = pieces / kPiecesANode + kBesides;
    const std::uint64_t bitmaps = std::min<std::uint64_t>(pieces + nodes, geometry.groups);
    return nodes + bitmaps + std::min<std::uint64_t>(bitmaps, geometry.descriptor_blocks);
  };
  std::uint64_t most = 1;
  for (std::uint64_t more = std::uint64_t{1} << 32; more != 0; more /= 2) {
    if (changed(most + more) <= room) most += more;
  }
  return most;
}

}  // namespace holdfast::ext4
