#include "bad/image_damage.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "base/crc32c.h"
#include "device/device.h"
#include "ext4/bitmap.h"
#include "ext4/checksum.h"
#include "ext4/dir_block.h"
#include "ext4/extent_node.h"

namespace holdfast::test {
namespace {

using ext4::BlockKind;
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

ImageDamage::ImageDamage(const std::string& path) : places_(static_cast<std::size_t>(Kind::count)) {
  const std::unique_ptr<device::Device> device = device::Device::open(path, device::OpenMode::read_only).value();
  super_ = ext4::read_superblock(*device).value().super;
  geometry_ = ext4::check_geometry(super_, *device).value();
  groups_ = std::make_unique<ext4::GroupTable>(super_, geometry_, path);
  if (const Status loaded = groups_->load(*device); !loaded) throw std::runtime_error(loaded.error().message());
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  struct stat stat {};
  if (fd < 0 || fstat(fd, &stat) != 0) throw std::runtime_error("no image at " + path);
  bytes_ = static_cast<std::size_t>(stat.st_size);
  void* const mapped = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (mapped == MAP_FAILED) throw std::runtime_error("mmap of " + path);
  image_ = static_cast<std::byte*>(mapped);
  find_places();
}

ImageDamage::~ImageDamage() {
  undo();
  munmap(image_, bytes_);
}

template <typename T>
T ImageDamage::load(std::uint64_t at) const {
  T value;
  std::memcpy(&value, image_ + at, sizeof value);
  return value;
}

void ImageDamage::store(std::uint64_t at, const void* from, std::size_t bytes) {
  saved_.push_back({at, std::vector<std::byte>(image_ + at, image_ + at + bytes)});
  std::memcpy(image_ + at, from, bytes);
}

void ImageDamage::undo() {
  for (auto saved = saved_.rbegin(); saved != saved_.rend(); ++saved) {
    std::memcpy(image_ + saved->at, saved->bytes.data(), saved->bytes.size());
  }
  saved_.clear();
}

void ImageDamage::say(const std::string& what) { said_ += (said_.empty() ? "" : "; ") + what; }

// --- where everything is ---

void ImageDamage::add(Kind kind, std::uint64_t at, std::size_t bytes, std::uint32_t owner, std::uint32_t seed) {
  places_[static_cast<std::size_t>(kind)].push_back({kind, at, bytes, owner, seed});
}

std::uint64_t ImageDamage::inode_at(std::uint32_t number) const {
  return groups_->inode_table(geometry_.group_of_inode(number)) * kBlockBytes +
         std::uint64_t{geometry_.index_of_inode(number)} * geometry_.inode_bytes;
}

void ImageDamage::find_places() {
  add(Kind::superblock, ext4::kSuperblockOffset, sizeof super_, 0);
  for (std::uint32_t group = 0; group < geometry_.groups; ++group) {
    const std::uint32_t per_block = geometry_.descriptors_per_block();
    const std::uint64_t block = ext4::descriptor_block_location(super_, geometry_, group / per_block);
    add(Kind::descriptor, block * kBlockBytes + std::uint64_t{group % per_block} * geometry_.descriptor_bytes,
        geometry_.descriptor_bytes, group);
    add(Kind::block_bitmap, groups_->block_bitmap(group) * kBlockBytes, geometry_.clusters_per_group / 8, group);
    add(Kind::inode_bitmap, groups_->inode_bitmap(group) * kBlockBytes, geometry_.inodes_per_group / 8, group);
    if ((groups_->flags(group) & EXT2_BG_INODE_UNINIT) != 0) continue;
    const ext4::BitView used(image_ + groups_->inode_bitmap(group) * kBlockBytes);
    const std::uint32_t end = geometry_.inodes_per_group - groups_->unused_inodes(group);
    for (std::uint32_t index = 0; index < end; ++index) {
      const std::uint32_t number = group * geometry_.inodes_per_group + index + 1;
      if (used.taken(index)) {
        find_places_of_inode(number);
      } else if (index % 64 == 0) {
        add(Kind::inode, inode_at(number), geometry_.inode_bytes, number);
      }
    }
  }
}

void ImageDamage::find_places_of_inode(std::uint32_t number) {
  inodes_.push_back(number);
  add(Kind::inode, inode_at(number), geometry_.inode_bytes, number);
  const auto inode = load<ext2_inode>(inode_at(number));
  const std::uint32_t seed = crc32c(crc32c(geometry_.seed, &number, sizeof number), &inode.i_generation, 4);
  if (inode.i_file_acl != 0) {
    add(Kind::attributes, std::uint64_t{inode.i_file_acl} * kBlockBytes, kBlockBytes, number, seed);
  }
  const bool has_map = LINUX_S_ISREG(inode.i_mode) || LINUX_S_ISDIR(inode.i_mode) ||
                       (LINUX_S_ISLNK(inode.i_mode) && inode.i_blocks != 0 && inode.i_file_acl == 0);
  if (!has_map) return;
  if ((inode.i_flags & EXT4_EXTENTS_FL) != 0) {
    find_nodes(number, seed, image_ + inode_at(number) + kMapAt);
    return;
  }
  for (std::uint32_t i = 0; i < EXT2_NDIR_BLOCKS; ++i) find_block(number, i, inode.i_block[i]);
  for (unsigned level = 1; level <= 3; ++level) {
    find_map_blocks(number, inode.i_block[EXT2_NDIR_BLOCKS + level - 1], level);
  }
}

void ImageDamage::find_nodes(std::uint32_t number, std::uint32_t seed, const std::byte* node) {
  ext4::ExtentHeader header;
  std::memcpy(&header, node, sizeof header);
  for (std::uint32_t i = 0; i < header.entries; ++i) {
    ext4::ExtentEntry entry;
    std::memcpy(&entry, node + kExtentHeaderBytes + i * sizeof entry, sizeof entry);
    if (header.depth != 0) {
      const std::uint64_t child = ext4::child_block(entry);
      add(Kind::extents, child * kBlockBytes, kBlockBytes, number, seed);
      find_nodes(number, seed, image_ + child * kBlockBytes);
    } else {
      const ext4::ExtentRecord record = ext4::to_record(entry);
      for (std::uint64_t at = 0; at < record.count; ++at) find_block(number, record.logical + at, record.block + at);
    }
  }
}

void ImageDamage::find_map_blocks(std::uint32_t number, std::uint32_t block, unsigned level) {
  if (block == 0) return;
  add(Kind::map, std::uint64_t{block} * kBlockBytes, kBlockBytes, number);
  for (std::uint32_t i = 0; i < kBlockBytes / 4 && level > 1; ++i) {
    find_map_blocks(number, load<std::uint32_t>(std::uint64_t{block} * kBlockBytes + i * 4U), level - 1);
  }
}

void ImageDamage::find_block(std::uint32_t number, std::uint64_t index, std::uint64_t block) {
  if (block == 0) return;
  const auto inode = load<ext2_inode>(inode_at(number));
  const std::uint32_t seed = crc32c(crc32c(geometry_.seed, &number, sizeof number), &inode.i_generation, 4);
  const std::uint64_t at = block * kBlockBytes;
  if (LINUX_S_ISDIR(inode.i_mode)) {
    const auto header = load<ext4::RecordHeader>(at);
    const bool node = header.inode == 0 && header.bytes == kBlockBytes;
    const bool indexed = (inode.i_flags & EXT2_INDEX_FL) != 0 && (index == 0 || node);
    add(indexed ? Kind::index : Kind::directory, at, kBlockBytes, number, seed);
  } else if (number == super_.s_journal_inum && index == 0) {
    add(Kind::journal, at, 256, number);
  } else if ((super_.s_feature_compat & EXT4_FEATURE_COMPAT_ORPHAN_FILE) != 0 && number == super_.s_orphan_file_inum) {
    add(Kind::orphans, at, kBlockBytes, number, seed);
  }
}

// --- what is done to it ---

std::string ImageDamage::apply(std::uint32_t seed) {
  undo();
  random_.seed(seed);
  said_.clear();
  const bool reseal = random(8) != 0;
  const std::uint32_t times = random(10) < 7 ? 1 : 2 + random(3);
  for (std::uint32_t i = 0; i < times; ++i) damage_once(reseal);
  return said_ + (reseal ? "" : " (checksums left)");
}

void ImageDamage::damage_once(bool reseal) {
  std::uint32_t whole = 0;
  for (std::size_t kind = 0; kind < places_.size(); ++kind) whole += places_[kind].empty() ? 0 : kWeights[kind];
  std::uint32_t chosen = random(whole);
  std::size_t kind = 0;
  for (;; ++kind) {
    const std::uint32_t weight = places_[kind].empty() ? 0 : kWeights[kind];
    if (chosen < weight) break;
    chosen -= weight;
  }
  const Place place = places_[kind][random(static_cast<std::uint32_t>(places_[kind].size()))];
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
      case Kind::attributes:
      case Kind::index:
        damage_word(place, place.at, random(2) == 0 ? 128 : place.bytes);
        break;
      default:
        damage_word(place, place.at, place.bytes);
        break;
    }
  }
  if (reseal) seal(place);
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
  const std::vector<Place>& like = places_[static_cast<std::size_t>(place.kind)];
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

// --- checksums ---

void ImageDamage::seal_descriptor(std::uint32_t group) {
  const Place& place = places_[static_cast<std::size_t>(Kind::descriptor)][group];
  const std::uint16_t value =
      ext4::descriptor_checksum(super_, geometry_.seed, group, image_ + place.at, geometry_.descriptor_bytes);
  if (geometry_.descriptor_checksums) store(place.at + offsetof(ext4_group_desc, bg_checksum), &value, sizeof value);
}

void ImageDamage::seal(const Place& place) {
  if (place.kind == Kind::descriptor) return seal_descriptor(place.owner);
  if (!geometry_.metadata_checksums) return;
  switch (place.kind) {
    case Kind::superblock: {
      const std::uint32_t value = ext4::superblock_checksum(load<ext2_super_block>(place.at));
      return store(place.at + offsetof(ext2_super_block, s_checksum), &value, sizeof value);
    }
    case Kind::block_bitmap:
    case Kind::inode_bitmap: {
      const bool blocks = place.kind == Kind::block_bitmap;
      const std::uint64_t descriptor = places_[static_cast<std::size_t>(Kind::descriptor)][place.owner].at;
      const std::uint32_t value = crc32c(geometry_.seed, image_ + place.at, place.bytes);
      const auto low = static_cast<std::uint16_t>(value);
      const auto high = static_cast<std::uint16_t>(value >> 16);
      store(descriptor + (blocks ? offsetof(ext4_group_desc, bg_block_bitmap_csum_lo)
                                 : offsetof(ext4_group_desc, bg_inode_bitmap_csum_lo)),
            &low, sizeof low);
      if (geometry_.descriptor_bytes > EXT2_MIN_DESC_SIZE) {
        store(descriptor + (blocks ? offsetof(ext4_group_desc, bg_block_bitmap_csum_hi)
                                   : offsetof(ext4_group_desc, bg_inode_bitmap_csum_hi)),
              &high, sizeof high);
      }
      return seal_descriptor(place.owner);
    }
    case Kind::inode: {
      std::vector<std::byte> bytes(image_ + place.at, image_ + place.at + place.bytes);
      const auto generation = load<std::uint32_t>(place.at + offsetof(ext2_inode, i_generation));
      const std::uint32_t seed = crc32c(crc32c(geometry_.seed, &place.owner, 4), &generation, 4);
      ext4::seal_inode(seed, bytes.data(), bytes.size());
      return store(place.at, bytes.data(), bytes.size());
    }
    case Kind::extents:
    case Kind::directory:
    case Kind::index:
    case Kind::attributes: {
      const auto block = std::make_unique<ext4::CachedBlock>();
      block->number = place.at / kBlockBytes;
      block->owner_seed = place.seed;
      block->kind = place.kind == Kind::extents     ? BlockKind::extent_node
                    : place.kind == Kind::directory ? BlockKind::directory
                    : place.kind == Kind::index     ? BlockKind::hash_tree_node
                                                    : BlockKind::attributes;
      std::memcpy(block->data.data(), image_ + place.at, kBlockBytes);
      if (!ext4::seal_block(geometry_.seed, *block).empty()) return say("there is no place for its checksum");
      return store(place.at, block->data.data(), kBlockBytes);
    }
    case Kind::orphans: {
      const std::uint64_t tail = place.at + kBlockBytes - sizeof(ext4_orphan_block_tail);
      const std::uint32_t value = ext4::orphan_block_checksum(place.seed, place.at / kBlockBytes, image_ + place.at);
      return store(tail + offsetof(ext4_orphan_block_tail, ob_checksum), &value, sizeof value);
    }
    default:
      return;
  }
}

}  // namespace holdfast::test
