// What an inode may be by its type: symbolic links, devices, fifos and sockets have no blocks to speak for them.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "ext4/inode_attributes.h"
#include "ext4/verify_state.h"

namespace holdfast::ext4 {

bool has_map(const Verifying& verifying, const ScannedInode& inode) {
  const ext2_inode_large& body = inode.body;
  if (inode.has(EXT4_INLINE_DATA_FL)) return false;
  if (inode.is(LINUX_S_IFDIR) || inode.is(LINUX_S_IFREG)) return true;
  if (!inode.is(LINUX_S_IFLNK)) return false;
  const bool wide = verifying.incompatible(EXT4_FEATURE_INCOMPAT_64BIT);
  const bool has_attributes = body.i_file_acl != 0 || (wide && body.osd2.linux2.l_i_file_acl_high != 0);
  if (!has_attributes) return body.i_blocks != 0;
  return body.i_size >= sizeof body.i_block || (body.i_size > 4 && body.i_block[1] == 0);
}

namespace {

bool any(const std::uint32_t* first, const std::uint32_t* last) {
  return std::any_of(first, last, [](std::uint32_t number) { return number != 0; });
}

// Where the target of a link lies that is too long for the inode. 0: nowhere that it may.
BlockNumber target_block(const ScannedInode& inode) {
  const auto& numbers = inode.body.i_block;
  if (!inode.has(EXT4_EXTENTS_FL)) return any(numbers + 1, std::end(numbers)) ? 0 : numbers[0];
  ExtentHeader header;
  std::memcpy(&header, numbers, sizeof header);
  if (!is_extent_header(header, kRootEntries) || header.entries != 1 || header.depth != 0) return 0;
  const ExtentRecord record = to_record({numbers[3], numbers[4], numbers[5]});
  return record.logical == 0 && record.count == 1 ? record.block : 0;
}

bool is_sound_symlink(Verifying& verifying, const ScannedInode& inode) {
  const std::uint64_t size = inode.size();
  const auto& numbers = inode.body.i_block;
  if (size == 0 || inode.body.i_size_high != 0 || inode.has(EXT2_INDEX_FL)) return false;
  const auto fits = [size](const void* text, std::size_t room) {
    const std::size_t length = strnlen(static_cast<const char*>(text), room);
    return length < room && length == size;
  };
  if (size < sizeof numbers) return !inode.has(EXT4_EXTENTS_FL) && fits(numbers, sizeof numbers);
  const BlockNumber target = target_block(inode);
  if (!verifying.is_block(target)) return false;
  const Result<BlockRef> block = verifying.volume.cache().read(target, BlockKind::plain);
  return block && fits(block->data(), kBlockBytes);
}

}  // namespace

void verify_kind(Verifying& verifying, const ScannedInode& inode) {
  const auto problem = [&](const std::string& what) { verifying.problem(inode.number, what); };
  const ext2_inode_large& body = inode.body;
  if (inode.is(LINUX_S_IFDIR) || inode.is(LINUX_S_IFREG)) return;
  if (inode.is(LINUX_S_IFLNK)) {
    if (inode.has(EXT4_EXTENTS_FL) && verifying.incompatible(EXT3_FEATURE_INCOMPAT_EXTENTS) &&
        !has_map(verifying, inode)) {
      problem("a symbolic link inside the inode that says it has extents");
    }
    if (!is_sound_symlink(verifying, inode)) problem("not a symbolic link that can be");
    return;
  }
  if (!has_known_type(body.i_mode)) return problem(fmt::format("mode {:#o} names no type of file", body.i_mode));
  const bool fixed = inode.has(EXT2_IMMUTABLE_FL | EXT2_APPEND_FL);
  if (inode.has(EXT2_INDEX_FL | EXT4_EXTENTS_FL) || (fixed && any(body.i_block + 4, std::end(body.i_block)))) {
    problem("a device, fifo or socket with blocks");
  }
  if (inode.size() != 0) problem("a device, fifo or socket with a size");
}

}  // namespace holdfast::ext4
