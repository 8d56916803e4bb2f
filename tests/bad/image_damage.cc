#include "bad/image_damage.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "ext4/dir_block.h"
#include "ext4/extent_node.h"

namespace holdfast::test {
namespace {

using ext4::kBlockBytes;

constexpr const char* kNames[] = {
    "superblock",     "descriptor of group", "block bitmap of group", "inode bitmap of group",
    "inode",          "extents of inode",    "map of inode",          "directory inode",
    "index of inode", "attributes of inode", "orphan file",           "journal"};
// How often each is chosen.
constexpr std::uint32_t kWeights[] = {2, 4, 3, 2, 12, 6, 2, 8, 4, 4, 2, 1};
constexpr std::size_t kExtentHeaderBytes = 12;
constexpr std::size_t kMapAt = 40;  // i_block in an inode

}  // namespace

void ImageDamage::begin(std::uint32_t seed) {
  undo();
  random_.seed(seed);
  said_.clear();
}

std::string ImageDamage::apply(std::uint32_t seed) {
  begin(seed);
  const bool reseal = random(8) != 0;
  const std::uint32_t times = random(10) < 7 ? 1 : 2 + random(3);
  for (std::uint32_t i = 0; i < times; ++i) damage_once(reseal);
  return said_ + (reseal ? "" : " (checksums left)");
}

std::string ImageDamage::apply_to_superblock(std::uint32_t seed) {
  begin(seed);
  const Place place = places(Kind::superblock).front();
  const std::uint32_t times = 1 + random(4) / 3;
  for (std::uint32_t i = 0; i < times; ++i) damage_superblock(place);
  seal(place);
  return said_;
}

void ImageDamage::damage_once(bool reseal) {
  const auto weight_of = [this](std::size_t kind) {
    return places(static_cast<Kind>(kind)).empty() ? 0 : kWeights[kind];
  };
  std::uint32_t whole = 0;
  for (std::size_t kind = 0; kind < std::size(kWeights); ++kind) whole += weight_of(kind);
  std::uint32_t chosen = random(whole);
  std::size_t kind = 0;
  for (; chosen >= weight_of(kind); ++kind) chosen -= weight_of(kind);
  const std::vector<Place>& like = places(static_cast<Kind>(kind));
  const Place place = like[random(static_cast<std::uint32_t>(like.size()))];
  say(fmt::format("{} {}", kNames[kind], place.owner));
  if (random(24) == 0) {
    exchange(place);
  } else {
    switch (place.kind) {
      case Kind::block_bitmap:
      case Kind::inode_bitmap:
        damage_bits(place);
        break;
      case Kind::directory:
        damage_record(place);
        break;
      case Kind::inode:
        damage_inode(place);
        break;
      case Kind::extents:
        damage_extents(place, place.at);
        break;
      case Kind::superblock:
        damage_superblock(place);
        break;
      case Kind::attributes:
      case Kind::index:
        damage_word(place, place.at, random(2) == 0 ? 128 : place.bytes);
        break;
      default:
        damage_word(place, place.at, place.bytes);
        break;
    }
  }
  if (reseal && !seal(place)) say("there is no place for its checksum");
}

// Words that programs go wrong with.
std::uint64_t ImageDamage::some_value(std::size_t width, std::uint64_t old) {
  const std::uint64_t all = width == 1 ? 0xff : width == 2 ? 0xffff : 0xffffffff;
  switch (random(10)) {
    case 0:
      return 0;
    case 1:
      return all;
    case 2:
      return (old + 1) & all;
    case 3:
      return (old - 1) & all;
    case 4:
      return inodes_[random(static_cast<std::uint32_t>(inodes_.size()))] & all;
    case 5:
      return random(static_cast<std::uint32_t>(geometry_.blocks)) & all;
    case 6:
      return random(16) & all;
    case 7:
      return random_() & all;
    default:
      return old ^ std::uint64_t{1} << random(static_cast<std::uint32_t>(width * 8));
  }
}

void ImageDamage::damage_word(const Place& place, std::uint64_t from, std::size_t bytes) {
  const std::size_t width = std::size_t{1} << random(3);
  const std::uint64_t at = from + random(static_cast<std::uint32_t>(bytes / width)) * width;
  std::uint64_t value = 0;
  std::memcpy(&value, image_ + at, width);
  const std::uint64_t changed = some_value(width, value);
  store(at, &changed, width);
  say(fmt::format("byte {}: {:#x} to {:#x} ({} bytes)", at - place.at, value, changed, width));
}

// Where its fields are; between these lie texts, identities and zeros.
void ImageDamage::damage_superblock(const Place& place) {
  struct Range {
    std::size_t from;
    std::size_t to;
  };
  constexpr std::size_t kFeatures = offsetof(ext2_super_block, s_feature_compat);
  constexpr Range kRanges[] = {
      {0, offsetof(ext2_super_block, s_uuid)},
      {offsetof(ext2_super_block, s_prealloc_blocks), offsetof(ext2_super_block, s_journal_uuid)},
      {offsetof(ext2_super_block, s_journal_inum), offsetof(ext2_super_block, s_snapshot_inum)},
      {offsetof(ext2_super_block, s_usr_quota_inum), offsetof(ext2_super_block, s_encrypt_algos)},
      {offsetof(ext2_super_block, s_lpf_ino), offsetof(ext2_super_block, s_reserved)},
      {0, sizeof(ext2_super_block)},
  };
  const std::uint32_t chosen = random(8);
  if (chosen < std::size(kRanges))
    return damage_word(place, place.at + kRanges[chosen].from, kRanges[chosen].to - kRanges[chosen].from);
  const std::uint32_t set = random(3);
  const std::uint64_t at = place.at + kFeatures + set * sizeof(std::uint32_t);
  const auto old = load<std::uint32_t>(at);
  const std::uint32_t changed = old ^ std::uint32_t{1} << random(24);
  store(at, &changed, sizeof changed);
  say(fmt::format("features {}: {:#x} to {:#x}", set, old, changed));
}

void ImageDamage::damage_bits(const Place& place) {
  const std::uint32_t count = random(3) == 0 ? 1 + random(40) : 1;
  const std::uint32_t first = random(static_cast<std::uint32_t>(place.bytes) * 8);
  for (std::uint32_t bit = first; bit < first + count && bit < place.bytes * 8; ++bit) {
    auto byte = load<std::uint8_t>(place.at + bit / 8);
    byte = static_cast<std::uint8_t>(byte ^ 1U << bit % 8);
    store(place.at + bit / 8, &byte, 1);
  }
  say(fmt::format("bits {}+{} flipped", first, count));
}

void ImageDamage::damage_record(const Place& place) {
  std::vector<std::uint32_t> records;
  for (std::uint32_t at = 0; at + sizeof(ext4::RecordHeader) <= kBlockBytes;) {
    records.push_back(at);
    const auto header = load<ext4::RecordHeader>(place.at + at);
    if (header.bytes < ext4::kRecordBytesMin) break;
    at += header.bytes;
  }
  const std::uint32_t record = records[random(static_cast<std::uint32_t>(records.size()))];
  damage_word(place, place.at + record, 8 + random(12));
}

void ImageDamage::damage_inode(const Place& place) {
  const bool extents = (load<std::uint32_t>(place.at + 32) & EXT4_EXTENTS_FL) != 0;
  switch (random(8)) {
    case 0:
      if (extents) return damage_extents(place, place.at + kMapAt);
      return damage_word(place, place.at + kMapAt, 60);
    case 1: {
      const std::uint32_t other = inodes_[random(static_cast<std::uint32_t>(inodes_.size()))];
      store(place.at + kMapAt, image_ + inode_at(other) + kMapAt, 60);
      return say(fmt::format("the map of inode {}", other));
    }
    case 2:
      return damage_word(place, place.at + 24, 12);  // group, links, blocks, flags
    case 3:
      return damage_word(place, place.at, 40);
    case 4:
      if (place.bytes > 160) return damage_word(place, place.at + 160, place.bytes - 160);
      [[fallthrough]];
    default:
      return damage_word(place, place.at, place.bytes);
  }
}

void ImageDamage::damage_extents(const Place& place, std::uint64_t header) {
  const auto entries = load<ext4::ExtentHeader>(header).entries;
  if (random(4) == 0 || entries == 0) return damage_word(place, header, kExtentHeaderBytes);
  const std::uint64_t entry = header + kExtentHeaderBytes + random(std::min<std::uint32_t>(entries, 340)) * 12U;
  if (entry + 12 > bytes_) return;
  damage_word(place, entry, 12);
}

// What lies there becomes what another one of its kind is.
void ImageDamage::exchange(const Place& place) {
  const std::vector<Place>& like = places(place.kind);
  const Place& other = like[random(static_cast<std::uint32_t>(like.size()))];
  if (random(3) == 0) {
    const std::vector<std::byte> zeros(place.bytes);
    store(place.at, zeros.data(), place.bytes);
    return say("zeros");
  }
  const std::vector<std::byte> bytes(image_ + other.at, image_ + other.at + place.bytes);
  store(place.at, bytes.data(), place.bytes);
  say(fmt::format("as that of {}", other.owner));
}

}  // namespace holdfast::test
