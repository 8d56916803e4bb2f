// Goal: an operation changes no more than its credits and the room it was shown, and every operation of the file system
// fits the smallest journal, whatever the groups. Method: the worst that can be of each, counted block by block, for
// volumes of all kinds of groups.
#include "ext4/log_credits.h"

#include <gtest/gtest.h>

namespace holdfast::ext4 {
namespace {

// What one transaction takes in a journal of 4 MiB, the least.
constexpr std::uint64_t kSmallest = 1000;

std::vector<Geometry> all_geometries() {
  std::vector<Geometry> all;
  for (const std::uint32_t blocks_per_group : {256u, 1024u, 8192u, 32768u}) {
    for (const std::uint32_t groups : {1u, 2u, 40u, 300u, 2000u, 100'000u}) {
      Geometry geometry;
      geometry.blocks_per_group = blocks_per_group;
      geometry.groups = groups;
      geometry.descriptor_blocks = (groups + 63) / 64;
      all.push_back(geometry);
    }
  }
  return all;
}

std::uint64_t of_space(const Geometry& geometry, std::uint64_t places) {
  return std::min<std::uint64_t>(places, geometry.groups) + std::min<std::uint64_t>(places, geometry.descriptor_blocks);
}

// Every piece in a group of its own, and beside another extent of the file, in leaves that are a third full.
std::uint64_t changed_by_pieces(const Geometry& geometry, std::uint64_t pieces) {
  const std::uint64_t nodes = (2 * pieces + 112) / 113 + (2 * pieces + 339) / 340 + 2 * 5;
  return of_space(geometry, pieces + nodes) + nodes + 3;
}

// Every extent as long as can be, in a leaf of its own, which is freed.
std::uint64_t changed_by_extents(const Geometry& geometry, std::uint64_t extents) {
  return of_space(geometry, extents * (groups_of_extent(geometry) + 1)) + extents + 2 * 5 + 4;
}

TEST(LogCredits, AnAllocationTakesNoMoreThanItsRoom) {
  for (const Geometry& geometry : all_geometries()) {
    for (std::uint64_t room = 100; room < 20'000; room = room * 5 / 4) {
      const std::uint64_t pieces = pieces_to_take(room, geometry);
      ASSERT_GE(pieces, 1u);
      if (pieces > 1) {
        ASSERT_LE(changed_by_pieces(geometry, pieces), room) << geometry.groups << " " << pieces;
      }
    }
    EXPECT_GT(pieces_to_take(~std::uint64_t{0}, geometry), std::uint64_t{1} << 32) << "without a journal";
  }
}

TEST(LogCredits, ARemovalTakesNoMoreThanItsRoom) {
  for (const Geometry& geometry : all_geometries()) {
    for (std::uint64_t room = 100; room < 20'000; room = room * 5 / 4) {
      const std::uint64_t extents = extents_to_free(room, geometry);
      ASSERT_GE(extents, 1u);
      if (extents > 1) {
        ASSERT_LE(changed_by_extents(geometry, extents), room) << geometry.groups << " " << extents;
      }
    }
  }
}

// The file system's own reservations, the largest of each kind. Each must leave room for one piece and one extent.
TEST(LogCredits, EveryOperationFitsTheSmallestJournal) {
  const filesystem::Reservation kinds[] = {
      {.inodes = 6, .names = 3, .takes_space = true},                // rename
      {.inodes = 3, .names = 1, .extents = 2, .takes_space = true},  // create
      {.inodes = 1, .extents = 32770, .takes_space = true},          // 128 MiB of blocks
      {.inodes = 3, .extents = 512},                                 // a removal
      {.inodes = 1, .extents = 257, .extent_nodes = 81},             // a record
      {.inodes = 3, .extents = 2564, .extent_nodes = 90},            // a detach
      {.inodes = 1, .attribute_blocks = 1, .takes_space = true},
  };
  for (const Geometry& geometry : all_geometries()) {
    for (const filesystem::Reservation& kind : kinds) {
      const std::uint64_t credits = log_credits(kind, geometry, kSmallest);
      EXPECT_LE(credits, kSmallest) << geometry.blocks_per_group << " " << geometry.groups << ": " << kind.extents;
      if (kind.extents < 100) continue;
      EXPECT_LE(changed_by_pieces(geometry, 1), credits) << geometry.groups;
      EXPECT_LE(changed_by_extents(geometry, 1), credits) << geometry.groups;
    }
  }
}

}  // namespace
}  // namespace holdfast::ext4
