// Where to take clusters from. Searches only look; allocator.cc takes.
#include <algorithm>

#include "ext4/allocator.h"

namespace holdfast::ext4 {
namespace {

// How far a search goes before it settles for less.
constexpr std::uint32_t kGroupsForBroken = 128;  // groups in which a small file looks for a unit already broken
constexpr std::uint32_t kLoadsForBroken = 8;     // of these, groups whose bitmap has to be read first
constexpr std::uint32_t kGroupsCompared = 8;     // groups compared before the longest run so far is taken

}  // namespace

// The run that begins exactly where asked, when it is worth having.
Result<Allocator::Found> Allocator::find_next_to(const Wish& wish, bool keep_whole_units) {
  if (!wish.near) return Found{};
  HF_TRY(load_group(wish.group));
  if (spaces_[wish.group].usable == 0) return Found{};
  HF_ASSIGN(const BlockRef bits, bitmap(wish.group));
  const std::uint32_t end = std::min(geometry_.group_clusters(wish.group), wish.bit + wish.wanted);
  std::uint32_t stop = view(bits, wish.group).next_taken(wish.bit, end);
  if (keep_whole_units) {
    const std::vector<std::uint16_t>& unit_free = spaces_[wish.group].unit_free;
    for (std::uint32_t bit = wish.bit; bit < stop;) {
      const std::uint32_t unit = unit_of(wish.group, bit);
      if (unit_free[unit] == unit_clusters_) stop = bit;
      bit = unit_end(wish.group, unit);
    }
  }
  return Found{wish.group, {wish.bit, stop - wish.bit}};
}

// The longest run of whole units, from the place inside the first that the wish names on.
Result<BitRun> Allocator::whole_run_in(GroupNumber group, const Wish& wish) {
  HF_TRY(load_group(group));
  const GroupSpace& space = spaces_[group];
  if (space.whole_units == 0) return BitRun{};
  if (unit_clusters_ == 1) {
    HF_ASSIGN(const BlockRef bits, bitmap(group));
    return view(bits, group).find_run(0, geometry_.group_clusters(group), wish.wanted);
  }
  const auto units = static_cast<std::uint32_t>(space.unit_free.size());
  const std::uint32_t wanted_units = (wish.in_unit + wish.wanted + unit_clusters_ - 1) / unit_clusters_;
  const std::uint32_t from = group == wish.group && wish.near ? unit_of(group, wish.bit) : 0;
  BitRun longest;  // in units
  // From the wish's place to the end, then what is before it.
  const std::uint32_t bounds[2][2] = {{from, units}, {0, from}};
  for (const auto& [first, end] : bounds) {
    for (std::uint32_t unit = first; unit < end && longest.count < wanted_units; ++unit) {
      std::uint32_t stop = unit;
      while (stop < end && stop - unit < wanted_units && space.unit_free[stop] == unit_clusters_) ++stop;
      if (stop - unit > longest.count) longest = {unit, stop - unit};
      unit = stop;
    }
  }
  if (longest.count == 0) return BitRun{};
  const std::uint32_t first = unit_first(group, longest.first) + wish.in_unit;
  return BitRun{first, std::min(wish.wanted, longest.count * unit_clusters_ - wish.in_unit)};
}

Result<Allocator::Found> Allocator::find_whole_units(const Wish& wish) {
  Found longest;
  std::uint32_t compared = 0;
  for (std::uint32_t step = 0; step < geometry_.groups; ++step) {
    const GroupNumber group = (wish.group + step) % geometry_.groups;
    const GroupSpace& space = spaces_[group];
    if (space.usable < unit_clusters_ || (space.loaded && space.whole_units == 0)) continue;
    HF_ASSIGN(const BitRun run, whole_run_in(group, wish));
    if (run.count > longest.run.count) longest = {group, run};
    if (longest.run.count == wish.wanted) break;
    if (run.count != 0 && ++compared == kGroupsCompared) break;
  }
  return longest;
}

// A run inside one broken unit, the first that is long enough, else the longest.
Result<BitRun> Allocator::broken_run_in(GroupNumber group, const Wish& wish, bool from_bit) {
  HF_TRY(load_group(group));
  const GroupSpace& space = spaces_[group];
  if (partial_free(space) == 0) return BitRun{};
  HF_ASSIGN(const BlockRef bits, bitmap(group));
  const BitView free_bits = view(bits, group);
  const auto units = static_cast<std::uint32_t>(space.unit_free.size());
  const std::uint32_t from = from_bit ? unit_of(group, wish.bit) : 0;
  BitRun longest;
  for (std::uint32_t step = 0; step < units; ++step) {
    const std::uint32_t unit = (from + step) % units;
    const std::uint32_t free_here = space.unit_free[unit];
    if (free_here <= longest.count || free_here == unit_clusters_) continue;
    const BitRun run = free_bits.find_run(unit_first(group, unit), unit_end(group, unit), wish.wanted);
    if (run.count > longest.count) longest = run;
    if (longest.count == wish.wanted) break;
  }
  return longest;
}

Result<Allocator::Found> Allocator::find_in_broken_units(const Wish& wish) {
  Found longest;
  std::uint32_t loads = 0;
  const std::uint32_t steps = std::min(geometry_.groups, kGroupsForBroken);
  for (std::uint32_t step = 0; step < steps; ++step) {
    const GroupNumber group = (wish.group + step) % geometry_.groups;
    const GroupSpace& space = spaces_[group];
    if (space.usable == 0) continue;
    if (space.loaded ? partial_free(space) <= longest.run.count : ++loads > kLoadsForBroken) continue;
    HF_ASSIGN(const BitRun run, broken_run_in(group, wish, wish.near && step == 0));
    if (run.count > longest.run.count) longest = {group, run};
    if (longest.run.count == wish.wanted) break;
  }
  return longest;
}

Result<Allocator::Found> Allocator::find_anything(const Wish& wish) {
  Found longest;
  std::uint32_t compared = 0;
  for (std::uint32_t step = 0; step < geometry_.groups; ++step) {
    const GroupNumber group = (wish.group + step) % geometry_.groups;
    if (spaces_[group].usable == 0) continue;
    HF_TRY(load_group(group));
    HF_ASSIGN(const BlockRef bits, bitmap(group));
    const BitRun run = view(bits, group).find_run(0, geometry_.group_clusters(group), wish.wanted);
    if (run.count > longest.run.count) longest = {group, run};
    if (longest.run.count == wish.wanted || (run.count != 0 && ++compared == kGroupsCompared)) break;
  }
  return longest;
}

Result<Allocator::Found> Allocator::find_large(const Wish& wish) {
  const std::uint64_t near_cluster = geometry_.first_cluster(wish.group) + wish.bit;
  if (wish.near && near_cluster % unit_clusters_ == wish.in_unit) {
    HF_ASSIGN(const Found next, find_next_to(wish, false));
    // Short of the end of its unit it would break the unit for nothing.
    if (next.run.count >= std::min(wish.wanted, unit_clusters_ - wish.in_unit)) return next;
  }
  HF_ASSIGN(const Found whole, find_whole_units(wish));
  if (whole.run.count != 0) return whole;
  return find_anything(wish);
}

Result<Allocator::Found> Allocator::find_small(const Wish& wish) {
  HF_ASSIGN(const Found next, find_next_to(wish, true));
  if (next.run.count * 2 > wish.wanted) return next;
  if (wish.wanted < unit_clusters_) {
    HF_ASSIGN(const Found broken, find_in_broken_units(wish));
    if (broken.run.count * 2 > wish.wanted) return broken;
  }
  Wish from_start = wish;
  from_start.in_unit = 0;
  HF_ASSIGN(const Found whole, find_whole_units(from_start));
  if (whole.run.count != 0) return whole;
  return find_anything(wish);
}

}  // namespace holdfast::ext4
