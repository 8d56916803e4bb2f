// Where the structures of an ext4 image in a file lie, and how to make their checksums right again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "ext4/block_cache.h"
#include "ext4/group_table.h"
#include "ext4/superblock.h"

namespace holdfast::test {

class ImagePlaces {
 public:
  // Of a sound image, in a file that is changed in place. A failure to read it is one of the test.
  explicit ImagePlaces(const std::string& path);
  ~ImagePlaces();
  ImagePlaces(const ImagePlaces&) = delete;
  ImagePlaces& operator=(const ImagePlaces&) = delete;

  // Times and generations become the same in every run, for good: a seed then means the same damage everywhere.
  void settle();

  // Levels below the root of the deepest tree of extents, and blocks' levels below the root of the deepest index.
  unsigned extent_levels() const;
  unsigned index_levels() const;

 protected:
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

  const std::vector<Place>& places(Kind kind) const { return places_[static_cast<std::size_t>(kind)]; }
  std::uint64_t inode_at(std::uint32_t number) const;
  template <typename T>
  T load(std::uint64_t at) const {
    T value;
    std::memcpy(&value, image_ + at, sizeof value);
    return value;
  }
  // What lay there is kept for undo.
  void store(std::uint64_t at, const void* from, std::size_t bytes);
  void undo();
  // False: there is no place for its checksum.
  bool seal(const Place& place);

  std::byte* image_ = nullptr;
  std::size_t bytes_ = 0;
  ext2_super_block super_{};
  ext4::Geometry geometry_;
  std::vector<std::uint32_t> inodes_;  // in use

 private:
  void find_places();
  void find_places_of_inode(std::uint32_t number);
  void find_nodes(std::uint32_t number, std::uint32_t seed, const std::byte* node);
  void find_map_blocks(std::uint32_t number, std::uint32_t block, unsigned level);
  void find_block(std::uint32_t number, std::uint64_t index, std::uint64_t block);
  void add(Kind kind, std::uint64_t at, std::size_t bytes, std::uint32_t owner, std::uint32_t seed = 0);
  bool seal_block(const Place& place);
  void seal_bitmap(const Place& place);
  void seal_descriptor(std::uint32_t group);

  std::unique_ptr<ext4::GroupTable> groups_;
  std::vector<std::vector<Place>> places_;  // by kind
  struct Saved {
    std::uint64_t at = 0;
    std::vector<std::byte> bytes;
  };
  std::vector<Saved> saved_;
};

}  // namespace holdfast::test
