// Goal: the images of a cut are those that the medium may hold: all of them where units are few, the telling ones else.
// Method: cuts made by hand.
#include "sim/cut.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace holdfast::sim {
namespace {

constexpr std::size_t kUnit = 64;

// Units of 64 bytes that hold 0, and 1 newly; the first `flushed` ones were flushed.
Cut make_cut(std::size_t units, std::size_t flushed = 0, unsigned versions = 2) {
  Cut cut;
  cut.base = std::make_shared<const Bytes>(units * kUnit);
  for (std::size_t i = 0; i < units; ++i) {
    CutUnit unit{i * kUnit, {}};
    for (unsigned version = 0; version < versions; ++version) {
      unit.versions.push_back({version, i < flushed, Bytes(kUnit, static_cast<std::byte>(version))});
    }
    cut.units.push_back(std::move(unit));
  }
  return cut;
}

// The first byte of each unit in the images of the choices.
std::multiset<std::vector<unsigned>> images(const Cut& cut, const std::vector<Choice>& choices) {
  std::multiset<std::vector<unsigned>> all;
  for (const Choice& choice : choices) {
    Bytes image;
    cut.make_image(choice, image);
    std::vector<unsigned> firsts;
    for (std::size_t at = 0; at < image.size(); at += kUnit) firsts.push_back(std::to_integer<unsigned>(image[at]));
    all.insert(firsts);
  }
  return all;
}

TEST(Choices, AreAllWhereUnitsAreFew) {
  std::mt19937_64 random(1);
  const Cut cut = make_cut(4);
  const auto all = images(cut, choose(cut, {.most = 16, .exhaustive_units = 4}, random));
  EXPECT_EQ(all.size(), 16U);
  EXPECT_EQ(std::set(all.begin(), all.end()).size(), 16U);
}

TEST(Choices, HoldTheExtremes) {
  std::mt19937_64 random(1);
  const Cut cut = make_cut(20, 8);
  const std::vector<Choice> choices = choose(cut, {.most = 24, .exhaustive_units = 4}, random);
  const auto all = images(cut, choices);
  EXPECT_EQ(choices.size(), 24U);
  EXPECT_EQ(std::set(all.begin(), all.end()).size(), 24U);
  std::vector<unsigned> flushed(20, 0);
  std::fill_n(flushed.begin(), 8, 1U);
  std::vector<unsigned> others(20, 1);
  std::fill_n(others.begin(), 8, 0U);
  EXPECT_TRUE(all.contains(std::vector<unsigned>(20, 0)));
  EXPECT_TRUE(all.contains(std::vector<unsigned>(20, 1)));
  EXPECT_TRUE(all.contains(flushed));
  EXPECT_TRUE(all.contains(others));
  const auto with = [&all](long count) {
    return std::any_of(all.begin(), all.end(),
                       [count](const auto& each) { return std::count(each.begin(), each.end(), 1U) == count; });
  };
  EXPECT_TRUE(with(1)) << "one alone";
  EXPECT_TRUE(with(19)) << "all but one";
}

TEST(Choices, HoldVersionsInBetween) {
  std::mt19937_64 random(1);
  const Cut cut = make_cut(2, 0, 4);
  std::set<unsigned> seen;
  for (const std::vector<unsigned>& each : images(cut, choose(cut, {.most = 64}, random))) {
    seen.insert(each.begin(), each.end());
  }
  EXPECT_EQ(seen, (std::set<unsigned>{0, 1, 2, 3}));
}

TEST(Choices, CutUnitsInThemselvesOnlyWhereAsked) {
  const Cut cut = make_cut(6);
  for (const bool torn : {false, true}) {
    std::mt19937_64 random(1);
    bool mixed = false;
    for (const Choice& choice : choose(cut, {.most = 64, .torn = torn}, random)) {
      Bytes image;
      cut.make_image(choice, image);
      for (std::size_t at = 0; at < image.size(); at += kUnit) {
        for (std::size_t i = 0; i < kUnit; ++i) {
          mixed = mixed || image[at + i] != image[at];
          ASSERT_EQ(image[at + i], image[at + i / 8 * 8]) << "a grain is whole";
        }
      }
    }
    EXPECT_EQ(mixed, torn);
  }
}

TEST(Choices, TheSameSeedGivesTheSame) {
  const Cut cut = make_cut(30, 10, 3);
  std::mt19937_64 one(7);
  std::mt19937_64 two(7);
  EXPECT_EQ(images(cut, choose(cut, {}, one)), images(cut, choose(cut, {}, two)));
}

}  // namespace
}  // namespace holdfast::sim
