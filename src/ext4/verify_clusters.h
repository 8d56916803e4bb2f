// Which clusters have an owner, as found by a verification: a bit for each, of the groups that have any.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "ext4/block_cache.h"
#include "ext4/superblock.h"

namespace holdfast::ext4 {

class ClusterMap {
 public:
  explicit ClusterMap(const Geometry& geometry) : geometry_(geometry), groups_(geometry.groups) {}

  // The clusters get an owner; false when one of them had one already. Precondition: inside the volume.
  bool claim(std::uint64_t first, std::uint64_t count);
  // The group's bits as in a bitmap; null: nothing has an owner.
  const std::byte* of(GroupNumber group) const { return groups_[group] ? groups_[group]->data() : nullptr; }

 private:
  using Bits = std::array<std::byte, kBlockBytes>;

  const Geometry& geometry_;
  std::vector<std::unique_ptr<Bits>> groups_;
};

}  // namespace holdfast::ext4
