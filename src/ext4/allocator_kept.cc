// Clusters that are free and not handed out: until the commit that freed them is durable, for as long as a transfer of
// the process before may be under way to them, or because their memory is lost.
#include <algorithm>
#include <memory>
#include <optional>

#include "ext4/allocator.h"

namespace holdfast::ext4 {

void Allocator::keep(GroupNumber group, BitRun run) {
  GroupSpace& space = spaces_[group];
  if (space.kept_bits == nullptr) space.kept_bits = std::make_unique<std::byte[]>(kBlockBytes);
  set_bits(space.kept_bits.get(), run.first, run.count);
}

const std::byte* Allocator::trusted_bits(GroupNumber group, GroupBits& scratch) {
  static constexpr GroupBits kNothing{};
  const GroupSpace& space = spaces_[group];
  const std::byte* const fresh = !distrusting_ ? nullptr : space.new_bits ? space.new_bits.get() : kNothing.data();
  const std::uint64_t first = geometry_.first_cluster(group) << geometry_.cluster_shift;
  const std::uint64_t blocks = std::uint64_t{geometry_.group_clusters(group)} << geometry_.cluster_shift;
  device::PageRun rest{Pfn(first), PageCount(blocks)};
  std::optional<device::PageRun> lost = device_.poison().first_in(rest);
  if (!lost) return fresh;
  if (fresh != nullptr) {
    std::copy_n(fresh, scratch.size(), scratch.data());
  } else {
    scratch.fill(std::byte{0xFF});
  }
  for (; lost; lost = device_.poison().first_in(rest)) {
    const std::uint64_t from = (lost->first.raw() - first) >> geometry_.cluster_shift;
    const std::uint64_t to = ((lost->end().raw() - 1 - first) >> geometry_.cluster_shift) + 1;
    clear_bits(scratch.data(), static_cast<std::uint32_t>(from), static_cast<std::uint32_t>(to - from));
    rest = {lost->end(), Pfn(first + blocks) - lost->end()};
  }
  return scratch.data();
}

std::uint32_t Allocator::settle(GroupNumber group) {
  GroupSpace& space = spaces_[group];
  GroupBits scratch;
  const std::byte* const usable = trusted_bits(group, scratch);
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
  return left;
}

void Allocator::committed() {
  for (const GroupNumber group : with_pending_) {
    GroupSpace& space = spaces_[group];
    const std::uint32_t before = space.usable;
    settle(group);
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
  Status status;
  Status done = for_groups(run, [this, &status](GroupNumber group, BitRun clusters) -> Status {
    Status loaded = load_group(group);
    if (!loaded && status) status = std::move(loaded);
    if (!spaces_[group].loaded) return {};
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
  return done ? std::move(status) : std::move(done);
}

void Allocator::trust() {
  distrusting_ = false;
  withheld_ = 0;
  for (GroupNumber group = 0; group < geometry_.groups; ++group) {
    GroupSpace& space = spaces_[group];
    space.new_bits.reset();
    if (space.kept_bits != nullptr && !space.has_pending) withheld_ += settle(group);
  }
  // What is withheld in a group that has pending ones, too, becomes usable with them.
  pending_ = 0;
  for (const GroupNumber group : with_pending_) {
    const std::byte* const kept = spaces_[group].kept_bits.get();
    const std::uint32_t end = geometry_.group_clusters(group);
    pending_ += end - BitView(kept).count_free(0, end);
  }
}

Status Allocator::take_lost(GroupNumber group, BitRun run, std::size_t clusters_max, std::vector<BlockNumber>& taken) {
  if (!load_group(group)) return {};  // it hands out nothing
  HF_ASSIGN(const BlockRef bits, bitmap(group));
  const std::uint32_t end = run.first + run.count;
  for (std::uint32_t first = BitView(bits.data()).next_free(run.first, end); first < end && taken.size() < clusters_max;
       first = BitView(bits.data()).next_free(first, end)) {
    const std::uint32_t stop = BitView(bits.data()).next_taken(first, end);
    const auto count = static_cast<std::uint32_t>(std::min<std::size_t>(stop - first, clusters_max - taken.size()));
    // Those that are withheld are handed out here, and here only.
    for (std::uint32_t bit = first; bit < first + count; ++bit) {
      std::byte* const kept = spaces_[group].kept_bits.get();
      if (kept == nullptr || !BitView(kept).taken(bit)) continue;
      clear_bits(kept, bit, 1);
      count_units(group, bit, 1, true);
      ++spaces_[group].usable;
      --withheld_;
    }
    HF_TRY(take({group, {first, count}}));
    for (std::uint32_t bit = first; bit < first + count; ++bit) {
      taken.push_back((geometry_.first_cluster(group) + bit) << geometry_.cluster_shift);
    }
    first += count;
  }
  return {};
}

Status Allocator::take_lost(std::uint32_t groups_max, std::size_t clusters_max, std::vector<BlockNumber>& taken) {
  std::uint32_t groups = 0;
  for (const device::PageRun& lost : device_.poison().all()) {
    if (groups == groups_max || taken.size() >= clusters_max) break;
    // The list names blocks in 32 bits: what lies beyond stays withheld.
    const std::uint64_t end = std::min(geometry_.blocks, std::uint64_t{1} << 32);
    if (lost.first.raw() >= end) break;
    const std::uint64_t count = std::min(lost.count.raw(), end - lost.first.raw());
    Status done = for_groups({lost.first.raw(), count}, [&](GroupNumber group, BitRun run) -> Status {
      if (groups == groups_max || spaces_[group].has_pending) return {};
      const std::size_t before = taken.size();
      HF_TRY(take_lost(group, run, clusters_max, taken));
      if (taken.size() != before) ++groups;
      return {};
    });
    if (!done) return done;
  }
  return {};
}

}  // namespace holdfast::ext4
