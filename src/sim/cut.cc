#include "sim/cut.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <set>
#include <tuple>

#include "base/check.h"

namespace holdfast::sim {
namespace {

constexpr std::size_t kGrains = 8;

// Collects choices of a cut.
class Chooser {
 public:
  Chooser(const Cut& cut, const ChoiceLimits& limits, std::mt19937_64& random)
      : cut_(cut), limits_(limits), random_(random) {}

  std::vector<Choice> run() {
    if (cut_.units.size() <= limits_.exhaustive_units) {
      combinations();
    } else {
      extremes();
    }
    // The last ones are drawn: versions in between, and cuts inside of a unit.
    for (std::size_t tries = 0; chosen_.size() < limits_.most && tries < 2 * limits_.most; ++tries) drawn();
    return std::move(chosen_);
  }

 private:
  using Take = std::function<bool(std::size_t unit)>;

  std::uint64_t below(std::uint64_t count) { return random_() % count; }
  std::uint32_t last(std::size_t unit) const {
    return static_cast<std::uint32_t>(cut_.units[unit].versions.size() - 1);
  }

  void add(Choice choice) {
    std::vector<std::uint64_t> key;
    for (const UnitChoice& each : choice) {
      key.push_back(std::uint64_t{each.version} << 40 | std::uint64_t{each.other} << 8 | each.grains);
    }
    if (known_.insert(std::move(key)).second) chosen_.push_back(std::move(choice));
  }
  // The newest version of the units that are taken, the oldest of the others.
  void old_or_new(const Take& take) {
    Choice choice(cut_.units.size());
    for (std::size_t unit = 0; unit < choice.size(); ++unit) choice[unit].version = take(unit) ? last(unit) : 0;
    add(std::move(choice));
  }

  void combinations() {
    const std::uint64_t count = std::uint64_t{1} << cut_.units.size();
    for (std::uint64_t bits = 0; bits < count; ++bits) {
      old_or_new([bits](std::size_t unit) { return (bits >> unit & 1) != 0; });
    }
  }

  void extremes() {
    const auto flushed = [this](std::size_t unit) { return cut_.units[unit].flushed(); };
    old_or_new([](std::size_t) { return false; });
    old_or_new([](std::size_t) { return true; });
    old_or_new(flushed);
    old_or_new([&](std::size_t unit) { return !flushed(unit); });
    const std::size_t each = std::max<std::size_t>(1, limits_.most / 8);
    for (std::size_t i = 0; i < each; ++i) {
      const std::size_t one = below(cut_.units.size());
      old_or_new([one](std::size_t unit) { return unit != one; });
      const std::size_t other = below(cut_.units.size());
      old_or_new([other](std::size_t unit) { return unit == other; });
      // All that a writer has waited for until now, but one; and what it has not asked for is not there.
      old_or_new([&](std::size_t unit) { return flushed(unit) && unit != one; });
    }
  }

  void drawn() {
    // How many are new, how many have a version in between, and how many are torn.
    const std::uint64_t new_in_16 = 1 + below(15);
    const bool unflushed_stay_old = below(3) == 0;
    Choice choice(cut_.units.size());
    for (std::size_t unit = 0; unit < choice.size(); ++unit) {
      if (unflushed_stay_old && !cut_.units[unit].flushed()) continue;
      if (below(16) < new_in_16) choice[unit].version = last(unit);
      if (last(unit) > 1 && below(2) == 0) choice[unit].version = static_cast<std::uint32_t>(below(last(unit) + 1));
      if (limits_.torn && below(4) == 0) {
        choice[unit].other = static_cast<std::uint32_t>(below(last(unit) + 1));
        if (choice[unit].other != choice[unit].version) choice[unit].grains = static_cast<std::uint8_t>(below(256));
      }
    }
    add(std::move(choice));
  }

  const Cut& cut_;
  const ChoiceLimits& limits_;
  std::mt19937_64& random_;
  std::vector<Choice> chosen_;
  std::set<std::vector<std::uint64_t>> known_;
};

}  // namespace

void Cut::make_image(const Choice& choice, Bytes& into) const {
  HF_CHECK(choice.size() == units.size(), "a choice of {} units for a cut of {}", choice.size(), units.size());
  into = *base;
  for (std::size_t i = 0; i < units.size(); ++i) {
    const CutUnit& unit = units[i];
    const Bytes& bytes = unit.versions[choice[i].version].bytes;
    const Bytes& other = unit.versions[choice[i].other].bytes;
    const std::size_t grain = bytes.size() / kGrains;
    for (std::size_t at = 0; at < kGrains; ++at) {
      const Bytes& from = (choice[i].grains >> at & 1) != 0 ? other : bytes;
      std::memcpy(into.data() + unit.offset + at * grain, from.data() + at * grain, grain);
    }
  }
}

std::vector<Choice> choose(const Cut& cut, const ChoiceLimits& limits, std::mt19937_64& random) {
  return Chooser(cut, limits, random).run();
}

}  // namespace holdfast::sim
