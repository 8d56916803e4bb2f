// Damages an ext4 image in the way of a program that went wrong: one or a few words of its structures, mostly with the
// checksums made right again, because otherwise every damage is a wrong checksum and nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "ext4/block_cache.h"
#include "ext4/group_table.h"
#include "ext4/superblock.h"

namespace holdfast::test {

class ImageDamage {
 public:
  // Of a sound image, in a file that is changed in place. A failure to read it is one of the test.
  explicit ImageDamage(const std::string& path);
  ~ImageDamage();
  ImageDamage(const ImageDamage&) = delete;
  ImageDamage& operator=(const ImageDamage&) = delete;

  // Takes the damage of before back, and does the one that the seed means. Says what was done.
  std::string apply(std::uint32_t seed);
  void undo();

 private:
  enum class Kind : std::uint8_t {
    superblock,
    descriptor,
    block_bitmap,
    inode_bitmap,
    inode,
    extents,
    map,
    directory,
    index,
    attributes,
    orphans,
    journal,
    count,
  };
  // A structure in the image.
  struct Place {
    Kind kind = Kind::superblock;
    std::uint64_t at = 0;
    std::size_t bytes = 0;
    std::uint32_t owner = 0;  // an inode or a group
    std::uint32_t seed = 0;   // of its checksum
  };

  void find_places();
  void find_places_of_inode(std::uint32_t number);
  void find_nodes(std::uint32_t number, std::uint32_t seed, const std::byte* node);
  void find_map_blocks(std::uint32_t number, std::uint32_t block, unsigned level);
  void find_block(std::uint32_t number, std::uint64_t index, std::uint64_t block);
  void add(Kind kind, std::uint64_t at, std::size_t bytes, std::uint32_t owner, std::uint32_t seed = 0);

  void damage_once(bool reseal);
  void damage_word(const Place& place, std::uint64_t from, std::size_t bytes);
  void damage_record(const Place& place);
  void damage_bits(const Place& place);
  void damage_inode(const Place& place);
  void damage_extents(const Place& place, std::uint64_t header);
  void exchange(const Place& place);
  std::uint64_t some_value(std::size_t width, std::uint64_t old);
  void seal(const Place& place);
  void seal_descriptor(std::uint32_t group);

  std::uint32_t random(std::uint32_t below) { return static_cast<std::uint32_t>(random_() % below); }
  template <typename T>
  T load(std::uint64_t at) const;
  void store(std::uint64_t at, const void* from, std::size_t bytes);
  std::uint64_t inode_at(std::uint32_t number) const;
  void say(const std::string& what);

  std::byte* image_ = nullptr;
  std::size_t bytes_ = 0;
  ext2_super_block super_{};
  ext4::Geometry geometry_;
  std::unique_ptr<ext4::GroupTable> groups_;
  std::vector<std::vector<Place>> places_;  // by kind
  std::vector<std::uint32_t> inodes_;       // in use
  std::mt19937 random_;
  std::string said_;
  struct Saved {
    std::uint64_t at = 0;
    std::vector<std::byte> bytes;
  };
  std::vector<Saved> saved_;
};

}  // namespace holdfast::test
