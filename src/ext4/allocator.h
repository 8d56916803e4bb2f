// Free space: which clusters are free, and which of them to hand out.
//
// A unit is an aligned run of 2 MiB. Large files get runs whose place inside a unit agrees with their place in the
// file, in units that are wholly free, so that they can be mapped in units. Small files fill units that are already
// broken, near where they were asked for, and break a whole one only when no broken one is within reach.
//
// A group's bitmap is read when the group is first looked at; from then on counts per unit say where to look, so full
// groups and full units are passed over without touching their bits.
//
// Invariants, per group:
//   A1 descriptor count = zero bits of the bitmap = usable + pending + withheld.
//   A2 pending clusters (freed, the commit not yet durable) and withheld ones have a zero in the bitmap and a one in
//      `kept_bits`; a search sees both, so no such cluster is handed out before committed(), or at all.
//   A3 unit_free[u] = usable clusters of unit u; whole_units = units with every cluster usable. Valid once `loaded`.
//   A5 what is lost of the device (device/poison.h) is in use or withheld, from the call of withhold() for it on; and
//      what was freed since is withheld at its commit.
//   A4 while `distrusting_`, a cluster that was freed is withheld unless it stands in `new_bits`: it was handed out
//      since then, so a transfer of the process that had the volume before is not under way to it.
// And over all: free_ = sum of A1's counts; pending_ and withheld_ = the sums of those; reserved_ = what open handles
// may still take.
//
// Locking: the format lock, as everything of a Volume.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "device/device.h"
#include "ext4/bitmap.h"
#include "ext4/block_cache.h"
#include "ext4/group_table.h"
#include "ext4/superblock.h"
#include "ext4/volume.h"

namespace holdfast::ext4 {

class Allocator {
 public:
  Allocator(device::Device& device, BlockCache& cache, const Geometry& geometry, GroupTable& groups);

  // Takes the counts from the descriptors. Precondition: the descriptors are loaded.
  void load();

  // As Volume's functions of the same name.
  Result<BlockRun> allocate_data(const Goal& goal);
  Result<BlockNumber> allocate_metadata(BlockNumber near);
  Status free_blocks(BlockRun run);
  void unallocate(BlockRun run);

  std::uint64_t free_clusters() const { return free_; }  // pending and withheld ones included
  std::uint64_t pending_clusters() const { return pending_; }
  std::uint64_t withheld_clusters() const { return withheld_; }
  std::uint64_t usable_clusters() const { return free_ - pending_ - withheld_; }
  // Never handed to data: lets operations that take no space finish on a full pool.
  std::uint64_t kept_clusters() const { return kept_; }
  Result<bool> is_free(BlockNumber block);

  // Sets clusters aside for metadata; false when there are not enough. `may_use_kept`: for operations that must not
  // fail. What is set aside is drawn through `charge` and given back by unreserve.
  bool reserve(std::uint64_t clusters, bool may_use_kept);
  void unreserve(std::uint64_t clusters);
  // From now on metadata is paid for out of *clusters (null: by nobody).
  void charge(std::uint64_t* clusters) { charged_ = clusters; }

  // Whether an allocation failed although pending clusters would have helped; cleared by committed().
  bool commit_would_help() const { return ran_out_ && pending_ != 0; }

  // ENOSPC, naming what is withheld.
  Error no_space() const;

  // Changes of bitmaps that took one back which was made before.
  std::uint64_t taken_back() const { return taken_back_; }

  // --- memory that the process before may still reach (take_over.h); allocator_kept.cc ---
  // From now on what is in use at this moment is withheld when it is freed.
  void distrust() { distrusting_ = true; }
  // Every run of free clusters, in order, as blocks. Precondition: nothing is pending.
  Status each_free_run(const std::function<Status(BlockRun)>& visit);
  // Clusters that touch the run and can be handed out are withheld.
  Status withhold(BlockRun run);
  // What is withheld on that account can be handed out.
  void trust();

  // --- memory that is lost; allocator_kept.cc ---
  // Takes free clusters that are lost, in at most `groups_max` groups and `clusters_max` of them, and appends their
  // first blocks. Those of a group with pending clusters wait for the commit.
  Status take_lost(std::uint32_t groups_max, std::size_t clusters_max, std::vector<BlockNumber>& taken);

  // Initializes the bitmap of a group whose inodes come into use (the two go together).
  Status initialize(GroupNumber group);
  // Brings the checksums of changed bitmaps into the descriptors. Part of a commit, before the descriptors' turn.
  Status seal();
  // The frees up to now are durable.
  void committed();

 private:
  struct GroupSpace {
    std::uint32_t usable = 0;
    std::uint32_t whole_units = 0;
    bool loaded = false;
    bool changed = false;  // the bitmap needs a new checksum
    bool has_pending = false;
    std::vector<std::uint16_t> unit_free;
    std::unique_ptr<std::byte[]> kept_bits;
    std::unique_ptr<std::byte[]> new_bits;
  };
  // Clusters [first, first + count) of a group.
  struct Found {
    GroupNumber group = 0;
    BitRun run;
  };
  // What a search goes by, in clusters.
  struct Wish {
    GroupNumber group = 0;      // where to begin
    std::uint32_t bit = 0;      // cluster of the group
    std::uint32_t in_unit = 0;  // place inside a unit that the run must begin at
    std::uint32_t wanted = 1;
    bool near = false;  // bit is meant, not only the group
  };

  std::uint32_t unit_clusters() const { return unit_clusters_; }
  // Units of a group are counted from the one that holds its first cluster.
  std::uint32_t unit_of(GroupNumber group, std::uint32_t bit) const;
  std::uint32_t unit_first(GroupNumber group, std::uint32_t unit) const;  // first cluster, clipped to the group
  std::uint32_t unit_end(GroupNumber group, std::uint32_t unit) const;
  std::uint32_t partial_free(const GroupSpace& space) const {
    return space.usable - space.whole_units * unit_clusters_;
  }

  Result<BlockRef> bitmap(GroupNumber group);
  Status load_group(GroupNumber group);
  BitView view(const BlockRef& bits, GroupNumber group) const;
  void count_units(GroupNumber group, std::uint32_t first, std::uint32_t count, bool freed);
  Status take(const Found& found);
  void keep(GroupNumber group, BitRun run);
  // Makes kept clusters usable, all but those that are to be withheld; answers how many these are.
  std::uint32_t settle(GroupNumber group);
  // Of a group, the clusters that are not to be withheld once they are free; null: all.
  using GroupBits = std::array<std::byte, kBlockBytes>;
  const std::byte* trusted_bits(GroupNumber group, GroupBits& scratch);
  Status take_lost(GroupNumber group, BitRun run, std::size_t clusters_max, std::vector<BlockNumber>& taken);
  // Precondition: the clusters are in use.
  Status give(GroupNumber group, BitRun run, bool at_once);
  Status for_groups(BlockRun run, const std::function<Status(GroupNumber, BitRun)>& visit);

  Wish wish_for(BlockNumber near, std::uint64_t logical, std::uint64_t clusters) const;
  // allocator_search.cc. count 0: nothing found.
  Result<Found> find_large(const Wish& wish);
  Result<Found> find_small(const Wish& wish);
  Result<Found> find_next_to(const Wish& wish, bool keep_whole_units);
  Result<Found> find_whole_units(const Wish& wish);
  Result<Found> find_in_broken_units(const Wish& wish);
  Result<Found> find_anything(const Wish& wish);
  Result<BitRun> whole_run_in(GroupNumber group, const Wish& wish);
  Result<BitRun> broken_run_in(GroupNumber group, const Wish& wish, bool from_bit);
  Error full();

  device::Device& device_;
  BlockCache& cache_;
  const Geometry& geometry_;
  GroupTable& groups_;
  std::vector<GroupSpace> spaces_;
  std::vector<GroupNumber> changed_;
  std::vector<GroupNumber> with_pending_;
  std::uint32_t unit_clusters_ = 1;
  std::uint64_t free_ = 0;
  std::uint64_t pending_ = 0;
  std::uint64_t withheld_ = 0;
  std::uint64_t reserved_ = 0;
  std::uint64_t kept_ = 0;
  std::uint64_t* charged_ = nullptr;
  GroupNumber rotor_ = 0;  // where requests without a place begin
  std::uint64_t taken_back_ = 0;
  bool ran_out_ = false;
  bool distrusting_ = false;
};

}  // namespace holdfast::ext4
