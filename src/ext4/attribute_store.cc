#include "ext4/attribute_store.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "base/fault_point.h"
#include "ext4/extent_account.h"

namespace holdfast::ext4 {

namespace {

constexpr std::size_t kMagicBytes = 4;
constexpr std::size_t kFixedBytes = sizeof(ext2_inode_large);

struct BlockHeader {
  std::uint32_t magic = kAttributeMagic;
  std::uint32_t references = 1;
  std::uint32_t blocks = 1;
  std::uint32_t hash = 0;
  std::uint32_t checksum = 0;
  std::uint32_t reserved[3] = {};
};
static_assert(sizeof(BlockHeader) == 32);

constexpr AttributeRegion kBlockRegion{AttributeHome::block, sizeof(BlockHeader), kBlockBytes};

bool is_64bit(const Volume& volume) {
  return (volume.superblock().s_feature_incompat & EXT4_FEATURE_INCOMPAT_64BIT) != 0;
}

BlockNumber attribute_block(const Volume& volume, const RawInode& raw) {
  const std::uint64_t high = is_64bit(volume) ? raw.body.osd2.linux2.l_i_file_acl_high : 0u;
  return (high << 32) | raw.body.i_file_acl;
}

void set_attribute_block(const Volume& volume, RawInode& raw, BlockNumber block) {
  raw.body.i_file_acl = static_cast<std::uint32_t>(block);
  if (is_64bit(volume)) raw.body.osd2.linux2.l_i_file_acl_high = static_cast<std::uint16_t>(block >> 32);
}

Error bad_attributes(const Volume& volume, InodeNumber inode, const std::string& what) {
  return damaged(volume, fmt::format("inode {}: extended attributes: {}", filesystem::raw(inode), what));
}

// The inode's bytes [from, from + count), which lie partly in the fixed part and partly behind it.
void copy_out(const RawInode& raw, std::size_t from, std::span<std::byte> bytes) {
  const auto* body = reinterpret_cast<const std::byte*>(&raw.body);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::size_t at = from + i;
    bytes[i] = at < kFixedBytes                     ? body[at]
               : at - kFixedBytes < raw.tail.size() ? raw.tail[at - kFixedBytes]
                                                    : std::byte{0};
  }
}

void copy_in(RawInode& raw, std::size_t from, std::span<const std::byte> bytes) {
  auto* body = reinterpret_cast<std::byte*>(&raw.body);
  const std::size_t end = from + bytes.size();
  if (end > kFixedBytes && raw.tail.size() < end - kFixedBytes) raw.tail.resize(end - kFixedBytes);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::size_t at = from + i;
    (at < kFixedBytes ? body[at] : raw.tail[at - kFixedBytes]) = bytes[i];
  }
}

}  // namespace

Result<AttributeStore> AttributeStore::load(Volume& volume, InodeNumber inode) {
  HF_ASSIGN(RawInode* const raw, volume.inode(inode));
  AttributeStore store(volume, inode, *raw);
  HF_TRY(store.find_inode_region());
  HF_TRY(store.load_inode());
  HF_TRY(store.load_block());
  return store;
}

std::size_t AttributeStore::block_room() { return kBlockRegion.room(); }

// Attributes begin after the fields that i_extra_isize counts; an inode that does not count them has no place for any.
Status AttributeStore::find_inode_region() {
  const std::size_t inode_bytes = volume_->superblock().s_inode_size;
  if (inode_bytes <= EXT2_GOOD_OLD_INODE_SIZE) return {};
  const std::size_t extra = raw_->body.i_extra_isize;
  if (extra < sizeof raw_->body.i_extra_isize) return {};
  if (extra % 4 != 0 || extra > inode_bytes - EXT2_GOOD_OLD_INODE_SIZE) {
    return damaged(*volume_, fmt::format("inode {}: its extra size is {}", filesystem::raw(inode_), extra));
  }
  inode_region_.magic_at = EXT2_GOOD_OLD_INODE_SIZE + extra;
  const std::size_t left = inode_bytes - inode_region_.magic_at;
  inode_region_.home_bytes = left > 2 * kMagicBytes ? left - kMagicBytes : 0;
  return {};
}

Status AttributeStore::load_inode() {
  if (inode_room() == 0) return {};
  std::uint32_t magic = 0;
  copy_out(*raw_, inode_region_.magic_at, std::as_writable_bytes(std::span(&magic, 1)));
  if (magic != kAttributeMagic) return {};
  std::vector<std::byte> bytes(inode_room());
  copy_out(*raw_, inode_region_.magic_at + kMagicBytes, bytes);
  const AttributeRegion region{AttributeHome::inode, 0, bytes.size()};
  const std::string complaint = parse_attributes(bytes, region, in_inode);
  if (!complaint.empty()) return bad_attributes(*volume_, inode_, complaint);
  return {};
}

Status AttributeStore::load_block() {
  const BlockNumber block = attribute_block(*volume_, *raw_);
  if (block == 0) return {};
  HF_TRY(volume_->check_run(BlockRun{block, 1}));
  HF_ASSIGN(block_, volume_->cache().read(block, BlockKind::attributes));
  const auto* header = block_.as<BlockHeader>();
  if (header->magic != kAttributeMagic || header->blocks != 1 || header->references == 0) {
    return bad_attributes(*volume_, inode_, fmt::format("block {} has a bad header", block));
  }
  references_ = header->references;
  const std::string complaint = parse_attributes({block_.data(), kBlockBytes}, kBlockRegion, in_block);
  if (!complaint.empty()) return bad_attributes(*volume_, inode_, fmt::format("block {}: {}", block, complaint));
  return {};
}

void AttributeStore::save_inode() {
  if (inode_room() == 0) return;
  std::vector<std::byte> bytes(kMagicBytes + inode_room());
  if (!in_inode.empty()) {
    std::memcpy(bytes.data(), &kAttributeMagic, kMagicBytes);
    const AttributeRegion region{AttributeHome::inode, 0, inode_room()};
    write_attributes(std::span(bytes).subspan(kMagicBytes), region, in_inode);
  }
  copy_in(*raw_, inode_region_.magic_at, bytes);
  volume_->inode_changed(inode_);
}

Status AttributeStore::save_block() {
  std::sort(in_block.begin(), in_block.end(), attribute_before);
  if (in_block.empty()) return block_ ? give_up_block() : Status();
  if (!block_ || references_ > 1) {
    const std::int64_t growth = block_ ? 0 : 1;
    HF_TRY(check_account(*volume_, inode_, *raw_, growth));
    HF_ASSIGN(BlockRef copy, new_block());
    if (block_) volume_->cache().modify_as<BlockHeader>(block_)->references = references_ - 1;
    set_attribute_block(*volume_, *raw_, copy.number());
    account(*volume_, inode_, *raw_, growth);
    block_ = std::move(copy);
    references_ = 1;
  }
  std::byte* const bytes = volume_->cache().modify(block_);
  BlockHeader header;
  header.hash = write_attributes({bytes, kBlockBytes}, kBlockRegion, in_block);
  std::memcpy(bytes, &header, sizeof header);
  return {};
}

Result<BlockRef> AttributeStore::new_block() {
  if (HF_FAULT_POINT("ext4.attribute.block")) {
    return Error(ENOSPC, fmt::format("inode {}", filesystem::raw(inode_)), "no block for its extended attributes");
  }
  const ext2_super_block& super = volume_->superblock();
  const std::uint64_t group = (filesystem::raw(inode_) - 1) / super.s_inodes_per_group;
  const BlockNumber near = block_ ? block_.number() : super.s_first_data_block + group * super.s_blocks_per_group;
  HF_ASSIGN(const BlockNumber block, volume_->allocate_metadata(near));
  Result<BlockRef> ref = volume_->cache().fresh(block, BlockKind::attributes);
  if (!ref) volume_->unallocate(BlockRun{block, volume_->blocks_per_cluster()});
  return ref;
}

// The inode has no block of attributes any more; the block goes when no other inode shares it.
Status AttributeStore::give_up_block() {
  const BlockNumber block = block_.number();
  const bool shared = references_ > 1;
  if (shared) volume_->cache().modify_as<BlockHeader>(block_)->references = references_ - 1;
  block_.reset();
  set_attribute_block(*volume_, *raw_, 0);
  account(*volume_, inode_, *raw_, -1);
  if (shared) return {};
  volume_->cache().forget(block);
  const std::uint64_t ratio = volume_->blocks_per_cluster();
  return volume_->free_blocks(BlockRun{round_down(block, ratio), ratio});
}

}  // namespace holdfast::ext4
