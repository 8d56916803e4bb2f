// Damages an ext4 image in the way of a program that went wrong: one or a few words of its structures, mostly with the
// checksums made right again, because otherwise every damage is a wrong checksum and nothing else.
#pragma once

#include <cstdint>
#include <random>
#include <string>

#include "bad/image_places.h"

namespace holdfast::test {

class ImageDamage : private ImagePlaces {
 public:
  explicit ImageDamage(const std::string& path) : ImagePlaces(path) {}

  // Takes the damage of before back, and does the one that the seed means. Says what was done.
  std::string apply(std::uint32_t seed);
  // The same, of the superblock alone.
  std::string apply_to_superblock(std::uint32_t seed);

 private:
  void begin(std::uint32_t seed);
  void damage_once(bool reseal);
  void damage_word(const Place& place, std::uint64_t from, std::size_t bytes);
  void damage_record(const Place& place);
  void damage_superblock(const Place& place);
  void damage_bits(const Place& place);
  void damage_inode(const Place& place);
  void damage_extents(const Place& place, std::uint64_t header);
  void exchange(const Place& place);
  std::uint64_t some_value(std::size_t width, std::uint64_t old);

  std::uint32_t random(std::uint32_t below) { return static_cast<std::uint32_t>(random_() % below); }
  void say(const std::string& what) { said_ += (said_.empty() ? "" : "; ") + what; }

  std::mt19937 random_;
  std::string said_;
};

}  // namespace holdfast::test
