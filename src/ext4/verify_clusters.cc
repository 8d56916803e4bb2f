#include "ext4/verify_clusters.h"

#include <algorithm>

#include "ext4/bitmap.h"

namespace holdfast::ext4 {

bool ClusterMap::claim(std::uint64_t first, std::uint64_t count) {
  bool free = true;
  while (count > 0) {
    const auto group = static_cast<GroupNumber>(first / geometry_.clusters_per_group);
    const auto bit = static_cast<std::uint32_t>(first % geometry_.clusters_per_group);
    const auto here = static_cast<std::uint32_t>(std::min<std::uint64_t>(count, geometry_.clusters_per_group - bit));
    std::unique_ptr<Bits>& bits = groups_[group];
    if (bits == nullptr) bits = std::make_unique<Bits>();
    free = free && BitView(bits->data()).next_taken(bit, bit + here) == bit + here;
    set_bits(bits->data(), bit, here);
    first += here;
    count -= here;
  }
  return free;
}

}  // namespace holdfast::ext4
