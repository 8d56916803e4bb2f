// Clusters that are free and not handed out: until the commit that freed them is durable, or for as long as a transfer
// of the process before may be under way to them.
#include <array>
#include <memory>

#include "ext4/allocator.h"

namespace holdfast::ext4 {

void Allocator::keep(GroupNumber group, BitRun run) {
  GroupSpace& space = spaces_[group];
  if (space.kept_bits == nullptr) space.kept_bits = std::make_unique<std::byte[]>(kBlockBytes);
  set_bits(space.kept_bits.get(), run.first, run.count);
}

void Allocator::settle(GroupNumber group, const std::byte* usable) {
  GroupSpace& space = spaces_[group];
  const std::uint32_t end = geometry_.group_clusters(group);
  std::uint32_t left = 0;
  for (std::uint32_t first = BitView(space.kept_bits.get()).next_taken(0, end); first < end;
       first = BitView(space.kept_bits.get()).next_taken(first, end)) {
    std::uint32_t stop = BitView(space.kept_bits.get()).next_free(first, end);
    if (usable != nullptr && !BitView(usable).taken(first)) {
      stop = BitView(usable).next_taken(first, stop);
      left += stop - first;
    } else {
      if (usable != nullptr) stop = BitView(usable).next_free(first, stop);
      clear_bits(space.kept_bits.get(), first, stop - first);
      count_units(group, first, stop - first, true);
      space.usable += stop - first;
    }
    first = stop;
  }
  if (left == 0) space.kept_bits.reset();
}

void Allocator::committed() {
  static constexpr std::array<std::byte, kBlockBytes> kNothing{};
  for (const GroupNumber group : with_pending_) {
    GroupSpace& space = spaces_[group];
    const std::uint32_t before = space.usable;
    settle(group, !distrusting_ ? nullptr : space.new_bits != nullptr ? space.new_bits.get() : kNothing.data());
    space.has_pending = false;
    pending_ -= space.usable - before;
  }
  withheld_ += pending_;  // what did not become usable
  with_pending_.clear();
  pending_ = 0;
  ran_out_ = false;
}

Status Allocator::each_free_run(const std::function<Status(BlockRun)>& visit) {
  BlockRun run;
  for (GroupNumber group = 0; group < geometry_.groups; ++group) {
    if (groups_.free_clusters(group) == 0) continue;
    HF_TRY(load_group(group));
    HF_ASSIGN(const BlockRef bits, bitmap(group));
    const BitView free_bits = view(bits, group);
    const std::uint32_t end = geometry_.group_clusters(group);
    for (std::uint32_t first = free_bits.next_free(0, end); first < end;) {
      const std::uint32_t stop = free_bits.next_taken(first, end);
      const BlockRun here{(geometry_.first_cluster(group) + first) << geometry_.cluster_shift,
                          std::uint64_t{stop - first} << geometry_.cluster_shift};
      if (run.first + run.count == here.first) {
        run.count += here.count;
      } else {
        if (run.count != 0) HF_TRY(visit(run));
        run = here;
      }
      first = free_bits.next_free(stop, end);
    }
  }
  return run.count == 0 ? Status() : visit(run);
}

Status Allocator::withhold(BlockRun run) {
  return for_groups(run, [this](GroupNumber group, BitRun clusters) -> Status {
    HF_TRY(load_group(group));
    HF_ASSIGN(const BlockRef bits, bitmap(group));
    const std::uint32_t end = clusters.first + clusters.count;
    for (std::uint32_t first = view(bits, group).next_free(clusters.first, end); first < end;) {
      const std::uint32_t stop = view(bits, group).next_taken(first, end);
      keep(group, {first, stop - first});
      count_units(group, first, stop - first, false);
      spaces_[group].usable -= stop - first;
      withheld_ += stop - first;
      first = view(bits, group).next_free(stop, end);
    }
    return {};
  });
}

void Allocator::trust() {
  distrusting_ = false;
  for (GroupNumber group = 0; group < geometry_.groups; ++group) {
    GroupSpace& space = spaces_[group];
    space.new_bits.reset();
    if (space.kept_bits != nullptr && !space.has_pending) settle(group, nullptr);
  }
  // What is withheld in a group that has pending ones, too, becomes usable with them.
  pending_ = 0;
  for (const GroupNumber group : with_pending_) {
    const std::byte* const kept = spaces_[group].kept_bits.get();
    const std::uint32_t end = geometry_.group_clusters(group);
    pending_ += end - BitView(kept).count_free(0, end);
  }
  withheld_ = 0;
}

}  // namespace holdfast::ext4
