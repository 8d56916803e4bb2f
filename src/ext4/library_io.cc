#include "ext4/library_io.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <et/com_err.h>
#include <fmt/format.h>

namespace holdfast::ext4 {
namespace {

// io_manager::open gets a name only; the volume being opened is handed over here.
thread_local Volume* opening = nullptr;

Volume& volume_of(io_channel channel) { return *static_cast<Volume*>(channel->private_data); }
Volume& volume_of(ext2_filsys library) { return *static_cast<Volume*>(library->priv_data); }

extern struct_io_manager cache_io_manager;

errcode_t open_channel(const char* name, int /*flags*/, io_channel* channel) {
  if (opening == nullptr) return EXT2_ET_BAD_DEVICE_NAME;
  // The library frees channel and name with the C allocator's free.
  auto* made = static_cast<io_channel>(std::calloc(1, sizeof(struct_io_channel)));
  if (made == nullptr) return EXT2_ET_NO_MEMORY;
  made->name = strdup(name);
  made->magic = EXT2_ET_MAGIC_IO_CHANNEL;
  made->manager = &cache_io_manager;
  made->block_size = 1024;
  made->refcount = 1;
  made->private_data = opening;
  *channel = made;
  return 0;
}

errcode_t close_channel(io_channel channel) {
  if (--channel->refcount > 0) return 0;
  std::free(channel->name);
  std::free(channel);
  return 0;
}

errcode_t set_block_size(io_channel channel, int block_size) {
  channel->block_size = block_size;
  return 0;
}

// Bytes [offset, offset + length) of the device, which `count` (blocks, or bytes when negative) means.
struct ByteRange {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

ByteRange byte_range(io_channel channel, unsigned long long block, int count) {
  const auto unit = static_cast<std::uint64_t>(channel->block_size);
  const std::uint64_t length = count < 0 ? static_cast<std::uint64_t>(-static_cast<std::int64_t>(count))
                                         : static_cast<std::uint64_t>(count) * unit;
  return {block * unit, length};
}

errcode_t read_blocks(io_channel channel, unsigned long long block, int count, void* data) {
  BlockCache& cache = volume_of(channel).cache();
  ByteRange range = byte_range(channel, block, count);
  auto* to = static_cast<std::byte*>(data);
  while (range.length > 0) {
    const std::size_t within = range.offset % kBlockBytes;
    const std::size_t here = std::min<std::uint64_t>(range.length, kBlockBytes - within);
    Result<BlockRef> cached = cache.read(range.offset / kBlockBytes, BlockKind::plain);
    if (!cached || !cache.seal(*cached)) return EXT2_ET_SHORT_READ;
    std::memcpy(to, cached->data() + within, here);
    to += here;
    range.offset += here;
    range.length -= here;
  }
  return 0;
}

errcode_t write_blocks(io_channel channel, unsigned long long block, int count, const void* data) {
  BlockCache& cache = volume_of(channel).cache();
  ByteRange range = byte_range(channel, block, count);
  const auto* from = static_cast<const std::byte*>(data);
  while (range.length > 0) {
    const std::size_t within = range.offset % kBlockBytes;
    const std::size_t here = std::min<std::uint64_t>(range.length, kBlockBytes - within);
    Result<BlockRef> cached = cache.read(range.offset / kBlockBytes, BlockKind::plain);
    if (!cached) return EXT2_ET_SHORT_WRITE;
    std::memcpy(cache.modify(*cached) + within, from, here);
    from += here;
    range.offset += here;
    range.length -= here;
  }
  return 0;
}

errcode_t read_blocks_32(io_channel channel, unsigned long block, int count, void* data) {
  return read_blocks(channel, block, count, data);
}
errcode_t write_blocks_32(io_channel channel, unsigned long block, int count, const void* data) {
  return write_blocks(channel, block, count, data);
}
errcode_t no_flush(io_channel) { return 0; }

struct_io_manager make_manager() {
  struct_io_manager manager{};
  manager.magic = EXT2_ET_MAGIC_IO_MANAGER;
  manager.name = "holdfast block cache";
  manager.open = open_channel;
  manager.close = close_channel;
  manager.set_blksize = set_block_size;
  manager.read_blk = read_blocks_32;
  manager.write_blk = write_blocks_32;
  manager.flush = no_flush;
  manager.read_blk64 = read_blocks;
  manager.write_blk64 = write_blocks;
  return manager;
}

struct_io_manager cache_io_manager = make_manager();

errcode_t take_block(ext2_filsys library, blk64_t goal, blk64_t* block, blk_alloc_ctx*) {
  const Result<BlockNumber> allocated = volume_of(library).allocate_metadata(goal);
  if (!allocated) return EXT2_ET_BLOCK_ALLOC_FAIL;
  *block = *allocated;
  return 0;
}

// Called after the library counted for itself; taking was done by take_block.
void block_changed(ext2_filsys library, blk64_t block, int in_use) {
  if (in_use >= 0) return;
  Volume& volume = volume_of(library);
  // A block that cannot be freed stays marked used, for e2fsck to find.
  if (volume.free_blocks({block, 1})) volume.cache().forget(block);
}

errcode_t read_inode(ext2_filsys library, ext2_ino_t number, ext2_inode* inode) {
  const Result<RawInode*> raw_inode = volume_of(library).inode(InodeNumber{number});
  if (!raw_inode) return EXT2_ET_BAD_INODE_NUM;
  std::memcpy(inode, &(*raw_inode)->body, sizeof(*inode));
  return 0;
}

errcode_t write_inode(ext2_filsys library, ext2_ino_t number, ext2_inode* inode) {
  Volume& volume = volume_of(library);
  const Result<RawInode*> raw_inode = volume.inode(InodeNumber{number});
  if (!raw_inode) return EXT2_ET_BAD_INODE_NUM;
  std::memcpy(&(*raw_inode)->body, inode, sizeof(*inode));
  volume.inode_changed(InodeNumber{number});
  return 0;
}

}  // namespace

Result<Library> open_library(Volume& volume) {
  opening = &volume;
  ext2_filsys opened = nullptr;
  const int flags = EXT2_FLAG_64BITS | EXT2_FLAG_SKIP_MMP | (volume.read_only() ? 0 : EXT2_FLAG_RW);
  const errcode_t code = ext2fs_open2("holdfast", nullptr, flags, 0, 0, &cache_io_manager, &opened);
  opening = nullptr;
  Library library(opened);
  if (code != 0) return damaged(volume, fmt::format("libext2fs refuses it: {}", error_message(code)));
  library->priv_data = &volume;
  library->get_alloc_block2 = take_block;
  library->block_alloc_stats = block_changed;
  library->read_inode = read_inode;
  library->write_inode = write_inode;
  return library;
}

}  // namespace holdfast::ext4
