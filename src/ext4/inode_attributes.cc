#include "ext4/inode_attributes.h"

#include <algorithm>
#include <cerrno>
#include <limits>

#include <fmt/format.h>
#include <sys/stat.h>

#include "ext4/extent_tree.h"
#include "ext4/superblock.h"

namespace holdfast::ext4 {
namespace {

constexpr std::uint16_t kExtraBytes = sizeof(ext2_inode_large) - EXT2_GOOD_OLD_INODE_SIZE;
constexpr std::uint32_t kLinksMax = 65000;
constexpr std::uint64_t kSizeMax = (std::uint64_t{1} << 32) * kPageBytes - kPageBytes;

// How the inode is stored: set by the format alone.
constexpr std::uint32_t kStorageFlags = EXT4_EXTENTS_FL | EXT2_INDEX_FL | EXT4_HUGE_FILE_FL | EXT4_EA_INODE_FL |
                                        EXT4_INLINE_DATA_FL | EXT4_ENCRYPT_FL | EXT4_VERITY_FL | EXT4_CASEFOLD_FL;

bool has(std::uint32_t features, std::uint32_t bit) { return (features & bit) != 0; }

// Whether the inode's extra part reaches past the field, which ends at `end` of the structure.
bool includes(const ext2_super_block& super, const RawInode& raw, std::size_t end) {
  return super.s_inode_size > EXT2_GOOD_OLD_INODE_SIZE &&
         EXT2_GOOD_OLD_INODE_SIZE + std::size_t{raw.body.i_extra_isize} >= end;
}
#define HF_INODE_INCLUDES(super, raw, field) \
  includes(super, raw, offsetof(ext2_inode_large, field) + sizeof(ext2_inode_large::field))

FileTime time_of(std::uint32_t seconds, std::uint32_t extra) {
  const std::int64_t low = static_cast<std::int32_t>(seconds);
  return {low + (std::int64_t{extra & EXT4_EPOCH_MASK} << 32), extra >> EXT4_EPOCH_BITS};
}

struct DiskTime {
  std::uint32_t seconds = 0;
  std::uint32_t extra = 0;
};

DiskTime disk_time(const FileTime& time, bool has_extra) {
  constexpr std::int64_t kLowest = std::numeric_limits<std::int32_t>::min();
  const std::int64_t highest = std::numeric_limits<std::int32_t>::max() + (has_extra ? std::int64_t{3} << 32 : 0);
  const std::int64_t seconds = std::clamp(time.seconds, kLowest, highest);
  const std::int64_t epoch = (seconds - static_cast<std::int32_t>(seconds)) >> 32;
  return {static_cast<std::uint32_t>(seconds),
          static_cast<std::uint32_t>(epoch) | std::min(time.nanoseconds, 999'999'999u) << EXT4_EPOCH_BITS};
}

bool is_device(FileType type) { return type == FileType::character_device || type == FileType::block_device; }

// Both encodings of device numbers: 8+8 bits in i_block[0], 12+20 bits in i_block[1].
void read_device(const RawInode& raw, Attributes& attributes) {
  if (const std::uint32_t old_number = raw.body.i_block[0]; old_number != 0) {
    attributes.device_major = (old_number >> 8) & 0xffu;
    attributes.device_minor = old_number & 0xffu;
  } else {
    const std::uint32_t number = raw.body.i_block[1];
    attributes.device_major = (number >> 8) & 0xfffu;
    attributes.device_minor = (number & 0xffu) | ((number >> 12) & 0xfff00u);
  }
}

void write_device(RawInode& raw, const Attributes& attributes) {
  const std::uint32_t major = attributes.device_major;
  const std::uint32_t minor = attributes.device_minor;
  const bool fits_old = major < 256 && minor < 256;
  raw.body.i_block[0] = fits_old ? major << 8 | minor : 0;
  raw.body.i_block[1] = fits_old ? 0 : (minor & 0xffu) | major << 8 | (minor & ~0xffu) << 12;
  raw.body.i_block[2] = 0;
}

}  // namespace

std::uint16_t mode_bits(FileType type) {
  switch (type) {
    case FileType::regular:
      return S_IFREG;
    case FileType::directory:
      return S_IFDIR;
    case FileType::symlink:
      return S_IFLNK;
    case FileType::character_device:
      return S_IFCHR;
    case FileType::block_device:
      return S_IFBLK;
    case FileType::fifo:
      return S_IFIFO;
    case FileType::socket:
      return S_IFSOCK;
  }
  return 0;
}

namespace {

FileType type_of(std::uint16_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return FileType::directory;
    case S_IFLNK:
      return FileType::symlink;
    case S_IFCHR:
      return FileType::character_device;
    case S_IFBLK:
      return FileType::block_device;
    case S_IFIFO:
      return FileType::fifo;
    case S_IFSOCK:
      return FileType::socket;
    default:
      return FileType::regular;
  }
}

}  // namespace

bool has_known_type(std::uint16_t mode) { return mode_bits(type_of(mode)) == (mode & S_IFMT); }

Attributes attributes_of(const ext2_super_block& super, const RawInode& raw) {
  const ext2_inode_large& body = raw.body;
  Attributes attributes;
  attributes.type = type_of(body.i_mode);
  attributes.permissions = body.i_mode & 07777u;
  attributes.uid = inode_uid(body);
  attributes.gid = inode_gid(body);
  attributes.links = body.i_links_count;
  attributes.size = body.i_size;
  if (attributes.type == FileType::regular || has(super.s_feature_incompat, EXT4_FEATURE_INCOMPAT_LARGEDIR)) {
    attributes.size |= std::uint64_t{body.i_size_high} << 32;
  }
  std::uint64_t sectors = body.i_blocks;
  if (has(super.s_feature_ro_compat, EXT4_FEATURE_RO_COMPAT_HUGE_FILE)) {
    sectors |= std::uint64_t{body.osd2.linux2.l_i_blocks_hi} << 32;
  }
  attributes.allocated = sectors * (has(body.i_flags, EXT4_HUGE_FILE_FL) ? kPageBytes : 512);
  const auto extra = [&](bool included, std::uint32_t value) { return included ? value : 0u; };
  attributes.accessed = time_of(body.i_atime, extra(HF_INODE_INCLUDES(super, raw, i_atime_extra), body.i_atime_extra));
  attributes.modified = time_of(body.i_mtime, extra(HF_INODE_INCLUDES(super, raw, i_mtime_extra), body.i_mtime_extra));
  attributes.changed = time_of(body.i_ctime, extra(HF_INODE_INCLUDES(super, raw, i_ctime_extra), body.i_ctime_extra));
  if (HF_INODE_INCLUDES(super, raw, i_crtime)) {
    attributes.created =
        time_of(body.i_crtime, extra(HF_INODE_INCLUDES(super, raw, i_crtime_extra), body.i_crtime_extra));
  }
  attributes.generation = body.i_generation;
  attributes.flags = body.i_flags;
  if (is_device(attributes.type)) read_device(raw, attributes);
  return attributes;
}

Status check_attributes(const ext2_super_block& super, const Attributes& attributes) {
  if (attributes.size > kSizeMax) {
    return Error(EFBIG, "", fmt::format("{} bytes are more than an ext4 file can have", attributes.size));
  }
  const bool counts_on =
      attributes.type == FileType::directory && has(super.s_feature_ro_compat, EXT4_FEATURE_RO_COMPAT_DIR_NLINK);
  if (attributes.links > kLinksMax && !counts_on) {
    return Error(EMLINK, "", fmt::format("{} links are more than ext4 can count", attributes.links));
  }
  return {};
}

void set_attributes(const ext2_super_block& super, RawInode& raw, const Attributes& attributes) {
  ext2_inode_large& body = raw.body;
  body.i_mode = static_cast<std::uint16_t>(mode_bits(attributes.type) | (attributes.permissions & 07777u));
  body.i_uid = static_cast<std::uint16_t>(attributes.uid);
  body.osd2.linux2.l_i_uid_high = static_cast<std::uint16_t>(attributes.uid >> 16);
  body.i_gid = static_cast<std::uint16_t>(attributes.gid);
  body.osd2.linux2.l_i_gid_high = static_cast<std::uint16_t>(attributes.gid >> 16);
  // 1 says of a directory: more than can be counted.
  body.i_links_count = static_cast<std::uint16_t>(attributes.links > kLinksMax ? 1 : attributes.links);
  body.i_size = static_cast<std::uint32_t>(attributes.size);
  body.i_size_high = static_cast<std::uint32_t>(attributes.size >> 32);
  const auto store = [](const FileTime& time, std::uint32_t& seconds, std::uint32_t& extra, bool has_extra) {
    const DiskTime on_disk = disk_time(time, has_extra);
    seconds = on_disk.seconds;
    if (has_extra) extra = on_disk.extra;
  };
  store(attributes.accessed, body.i_atime, body.i_atime_extra, HF_INODE_INCLUDES(super, raw, i_atime_extra));
  store(attributes.modified, body.i_mtime, body.i_mtime_extra, HF_INODE_INCLUDES(super, raw, i_mtime_extra));
  store(attributes.changed, body.i_ctime, body.i_ctime_extra, HF_INODE_INCLUDES(super, raw, i_ctime_extra));
  if (HF_INODE_INCLUDES(super, raw, i_crtime)) {
    store(attributes.created, body.i_crtime, body.i_crtime_extra, HF_INODE_INCLUDES(super, raw, i_crtime_extra));
  }
  body.i_flags = (body.i_flags & kStorageFlags) | (attributes.flags & ~kStorageFlags);
  if (is_device(attributes.type)) write_device(raw, attributes);
}

void make_inode(const ext2_super_block& super, RawInode& raw, const Attributes& attributes, std::uint32_t generation) {
  raw.body = ext2_inode_large{};
  std::fill(raw.tail.begin(), raw.tail.end(), std::byte{0});
  if (super.s_inode_size > EXT2_GOOD_OLD_INODE_SIZE) raw.body.i_extra_isize = kExtraBytes;
  raw.body.i_generation = generation;
  const bool has_blocks = attributes.type == FileType::regular || attributes.type == FileType::directory;
  if (has_blocks && has(super.s_feature_incompat, EXT3_FEATURE_INCOMPAT_EXTENTS)) make_extent_root(raw);
  set_attributes(super, raw, attributes);
}

}  // namespace holdfast::ext4
