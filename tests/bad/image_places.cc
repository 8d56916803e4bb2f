#include "bad/image_places.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>

#include "base/crc32c.h"
#include "device/device.h"
#include "ext4/bitmap.h"
#include "ext4/checksum.h"
#include "ext4/dir_block.h"
#include "ext4/extent_node.h"
#include "ext4/hash_tree_node.h"

namespace holdfast::test {

using ext4::BlockKind;
using ext4::kBlockBytes;

ImagePlaces::ImagePlaces(const std::string& path) : places_(static_cast<std::size_t>(Kind::count)) {
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

ImagePlaces::~ImagePlaces() {
  undo();
  munmap(image_, bytes_);
}

void ImagePlaces::store(std::uint64_t at, const void* from, std::size_t bytes) {
  saved_.push_back({at, std::vector<std::byte>(image_ + at, image_ + at + bytes)});
  std::memcpy(image_ + at, from, bytes);
}

void ImagePlaces::undo() {
  for (auto saved = saved_.rbegin(); saved != saved_.rend(); ++saved) {
    std::memcpy(image_ + saved->at, saved->bytes.data(), saved->bytes.size());
  }
  saved_.clear();
}

// --- where everything is ---

void ImagePlaces::add(Kind kind, std::uint64_t at, std::size_t bytes, std::uint32_t owner, std::uint32_t seed) {
  places_[static_cast<std::size_t>(kind)].push_back({kind, at, bytes, owner, seed});
}

std::uint64_t ImagePlaces::inode_at(std::uint32_t number) const {
  return groups_->inode_table(geometry_.group_of_inode(number)) * kBlockBytes +
         std::uint64_t{geometry_.index_of_inode(number)} * geometry_.inode_bytes;
}

void ImagePlaces::find_places() {
  for (std::vector<Place>& places : places_) places.clear();
  inodes_.clear();
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

void ImagePlaces::find_places_of_inode(std::uint32_t number) {
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
    find_nodes(number, seed, image_ + inode_at(number) + offsetof(ext2_inode, i_block));
    return;
  }
  for (std::uint32_t i = 0; i < EXT2_NDIR_BLOCKS; ++i) find_block(number, i, inode.i_block[i]);
  for (unsigned level = 1; level <= 3; ++level) {
    find_map_blocks(number, inode.i_block[EXT2_NDIR_BLOCKS + level - 1], level);
  }
}

void ImagePlaces::find_nodes(std::uint32_t number, std::uint32_t seed, const std::byte* node) {
  ext4::ExtentHeader header;
  std::memcpy(&header, node, sizeof header);
  for (std::uint32_t i = 0; i < header.entries; ++i) {
    ext4::ExtentEntry entry;
    std::memcpy(&entry, node + sizeof header + i * sizeof entry, sizeof entry);
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

void ImagePlaces::find_map_blocks(std::uint32_t number, std::uint32_t block, unsigned level) {
  if (block == 0) return;
  add(Kind::map, std::uint64_t{block} * kBlockBytes, kBlockBytes, number);
  for (std::uint32_t i = 0; i < kBlockBytes / 4 && level > 1; ++i) {
    find_map_blocks(number, load<std::uint32_t>(std::uint64_t{block} * kBlockBytes + i * 4U), level - 1);
  }
}

void ImagePlaces::find_block(std::uint32_t number, std::uint64_t index, std::uint64_t block) {
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

unsigned ImagePlaces::extent_levels() const {
  unsigned levels = 0;
  for (const std::uint32_t number : inodes_) {
    const auto inode = load<ext2_inode>(inode_at(number));
    const bool mapped = (inode.i_flags & EXT4_EXTENTS_FL) != 0;
    ext4::ExtentHeader header;
    std::memcpy(&header, inode.i_block, sizeof header);
    if (mapped) levels = std::max<unsigned>(levels, header.depth);
  }
  return levels;
}

unsigned ImagePlaces::index_levels() const {
  unsigned levels = 0;
  for (const Place& place : places(Kind::index)) {
    const auto first = load<ext4::RecordHeader>(place.at);
    if (first.inode == 0) continue;  // a node
    levels = std::max<unsigned>(levels, 1U + load<ext4::RootInfo>(place.at + ext4::kRootInfoAt).levels);
  }
  return levels;
}

void ImagePlaces::settle() {
  constexpr std::uint32_t kMoment = 1700000000;
  constexpr std::size_t kTimes[] = {offsetof(ext2_inode, i_atime), offsetof(ext2_inode, i_ctime),
                                    offsetof(ext2_inode, i_mtime)};
  constexpr std::uint32_t kFine = 0;
  for (const std::uint32_t number : inodes_) {
    const std::uint64_t inode = inode_at(number);
    for (const std::size_t time : kTimes) store(inode + time, &kMoment, sizeof kMoment);
    store(inode + offsetof(ext2_inode, i_generation), &number, sizeof number);
    if (geometry_.inode_bytes < sizeof(ext2_inode_large)) continue;
    if (load<std::uint16_t>(inode + offsetof(ext2_inode_large, i_extra_isize)) == 0) continue;
    for (const std::size_t time :
         {offsetof(ext2_inode_large, i_ctime_extra), offsetof(ext2_inode_large, i_mtime_extra),
          offsetof(ext2_inode_large, i_atime_extra), offsetof(ext2_inode_large, i_crtime_extra)}) {
      store(inode + time, &kFine, sizeof kFine);
    }
    store(inode + offsetof(ext2_inode_large, i_crtime), &kMoment, sizeof kMoment);
  }
  for (const std::size_t time : {offsetof(ext2_super_block, s_mtime), offsetof(ext2_super_block, s_wtime),
                                 offsetof(ext2_super_block, s_lastcheck), offsetof(ext2_super_block, s_mkfs_time)}) {
    store(ext4::kSuperblockOffset + time, &kMoment, sizeof kMoment);
  }
  find_places();  // the seeds of checksums are others now
  for (const Kind kind : {Kind::superblock, Kind::inode, Kind::extents, Kind::directory, Kind::index, Kind::orphans}) {
    for (const Place& place : places(kind)) {
      if (kind == Kind::inode && !std::binary_search(inodes_.begin(), inodes_.end(), place.owner)) continue;
      if (!seal(place)) throw std::runtime_error("a sound image without a place for a checksum");
    }
  }
  saved_.clear();
}

// --- checksums ---

bool ImagePlaces::seal(const Place& place) {
  if (place.kind == Kind::descriptor) seal_descriptor(place.owner);
  if (!geometry_.metadata_checksums) return true;
  switch (place.kind) {
    case Kind::superblock: {
      const std::uint32_t value = ext4::superblock_checksum(load<ext2_super_block>(place.at));
      store(place.at + offsetof(ext2_super_block, s_checksum), &value, sizeof value);
      return true;
    }
    case Kind::block_bitmap:
    case Kind::inode_bitmap:
      seal_bitmap(place);
      return true;
    case Kind::inode: {
      std::vector<std::byte> bytes(image_ + place.at, image_ + place.at + place.bytes);
      const auto generation = load<std::uint32_t>(place.at + offsetof(ext2_inode, i_generation));
      const std::uint32_t seed = crc32c(crc32c(geometry_.seed, &place.owner, 4), &generation, 4);
      ext4::seal_inode(seed, bytes.data(), bytes.size());
      store(place.at, bytes.data(), bytes.size());
      return true;
    }
    case Kind::extents:
    case Kind::directory:
    case Kind::index:
    case Kind::attributes:
      return seal_block(place);
    case Kind::orphans: {
      const std::uint64_t tail = place.at + kBlockBytes - sizeof(ext4_orphan_block_tail);
      const std::uint32_t value = ext4::orphan_block_checksum(place.seed, place.at / kBlockBytes, image_ + place.at);
      store(tail + offsetof(ext4_orphan_block_tail, ob_checksum), &value, sizeof value);
      return true;
    }
    default:
      return true;
  }
}

bool ImagePlaces::seal_block(const Place& place) {
  const auto block = std::make_unique<ext4::CachedBlock>();
  block->number = place.at / kBlockBytes;
  block->owner_seed = place.seed;
  block->kind = place.kind == Kind::extents     ? BlockKind::extent_node
                : place.kind == Kind::directory ? BlockKind::directory
                : place.kind == Kind::index     ? BlockKind::hash_tree_node
                                                : BlockKind::attributes;
  std::memcpy(block->data.data(), image_ + place.at, kBlockBytes);
  if (!ext4::seal_block(geometry_.seed, *block).empty()) return false;
  store(place.at, block->data.data(), kBlockBytes);
  return true;
}

// In the descriptor of its group, which has one of its own.
void ImagePlaces::seal_bitmap(const Place& place) {
  const bool blocks = place.kind == Kind::block_bitmap;
  const std::uint64_t descriptor = places(Kind::descriptor)[place.owner].at;
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
  seal_descriptor(place.owner);
}

void ImagePlaces::seal_descriptor(std::uint32_t group) {
  if (!geometry_.descriptor_checksums) return;
  const std::uint64_t at = places(Kind::descriptor)[group].at;
  const std::uint16_t value =
      ext4::descriptor_checksum(super_, geometry_.seed, group, image_ + at, geometry_.descriptor_bytes);
  store(at + offsetof(ext4_group_desc, bg_checksum), &value, sizeof value);
}

}  // namespace holdfast::test
