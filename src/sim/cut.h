// A power failure at one moment: all the images that it may leave.
//
// The medium takes *units*: cache lines of 64 bytes, or pages of 4 KiB. Of each unit that was stored to since it was
// last known to be durable it holds one of the unit's *versions*: what was durable, or anything the unit has held
// since, as far as it was seen. Which one is independent of the other units: the processor evicts lines, and the kernel
// writes pages, when they like and in any order. So an image is a choice of one version for each unit, and each choice
// is an image.
//
// A unit can be cut in itself, too: eight grains (8 bytes of a line, a sector of a page) then come from one of two
// versions each. No line of memory with its own battery does that, and some disks do.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <vector>

namespace holdfast::sim {

using Bytes = std::vector<std::byte>;

struct Version {
  std::uint64_t number = 0;  // counted over all units: in order of time
  bool flushed = false;      // somebody has asked for it to be durable
  Bytes bytes;
};

struct CutUnit {
  std::uint64_t offset = 0;
  std::vector<Version> versions;  // at least two; the first is what was durable
  bool flushed() const { return versions.back().flushed; }
};

// What becomes of one unit.
struct UnitChoice {
  std::uint32_t version = 0;
  std::uint32_t other = 0;  // with grains
  std::uint8_t grains = 0;  // a bit for each of the eight that are of the other version
};
using Choice = std::vector<UnitChoice>;  // one for each unit of the cut

struct Cut {
  std::uint64_t number = 0;           // of the fence
  std::shared_ptr<const Bytes> base;  // with the first version of every unit
  std::vector<CutUnit> units;

  // The image into `into`, which gets the size of the base.
  void make_image(const Choice& choice, Bytes& into) const;
};

struct ChoiceLimits {
  std::size_t most = 24;             // images of one cut
  std::size_t exhaustive_units = 4;  // up to so many units all combinations of old and new are taken
  bool torn = false;                 // units may be cut in themselves
};

// Choices for a cut, no two the same: every combination where there are few, else the extremes (nothing, all, only what
// was flushed, only what was not, all but one, one alone) and random ones.
std::vector<Choice> choose(const Cut& cut, const ChoiceLimits& limits, std::mt19937_64& random);

}  // namespace holdfast::sim
