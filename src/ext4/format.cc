#include "ext4/format.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "ext4/attribute.h"
#include "ext4/directory.h"
#include "ext4/extent_list.h"
#include "ext4/extent_tree.h"
#include "ext4/format_operation.h"
#include "ext4/inode_attributes.h"
#include "ext4/log_credits.h"
#include "ext4/symlink.h"
#include "ext4/verify.h"

namespace holdfast::ext4 {
namespace {

// Extents count file blocks in 32 bits.
constexpr std::uint64_t kFileBytesMax = kBlockBytes << 32U;

}  // namespace

using filesystem::Extent;
using filesystem::Handle;
using filesystem::Initial;
using filesystem::Name;

Ext4Format::Ext4Format(std::unique_ptr<VolumeCore> volume)
    : volume_(std::move(volume)), read_only_(volume_->read_only()) {
  if (getrandom(&random_, sizeof(random_), GRND_NONBLOCK) != sizeof(random_)) {
    random_ = static_cast<std::uint64_t>(file_time_now().seconds);
  }
}

// Without close() the image stays marked as in use, which is what a crash leaves too.
Ext4Format::~Ext4Format() = default;

// SplitMix64: generations must differ from one use of an inode number to the next, nothing more.
std::uint32_t Ext4Format::next_generation() {
  std::uint64_t value = random_ += 0x9e3779b97f4a7c15u;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return static_cast<std::uint32_t>(value ^ (value >> 31));
}

Status Ext4Format::check_named(InodeNumber inode) const {
  const ext2_super_block& super = volume_->superblock();
  const bool reserved = raw(inode) < super.s_first_ino && inode != root();
  const bool hidden =
      (super.s_feature_compat & EXT4_FEATURE_COMPAT_ORPHAN_FILE) != 0 && raw(inode) == super.s_orphan_file_inum;
  if (!reserved && !hidden) return {};
  return damaged(*volume_,
                 fmt::format("inode {}: belongs to the file system itself, but a name leads to it", raw(inode)));
}

// --- inodes ---

Result<Attributes> Ext4Format::read_inode(InodeNumber inode) {
  const Reading lock(*this);
  HF_TRY(check_named(inode));
  HF_ASSIGN(const RawInode* const raw_inode, volume_->inode(inode));
  const Attributes attributes = attributes_of(volume_->superblock(), *raw_inode);
  if (attributes.size > kFileBytesMax) {
    return damaged(*volume_, fmt::format("inode {}: a size of {} bytes", raw(inode), attributes.size));
  }
  return attributes;
}

Status Ext4Format::write_inode(Handle& handle, InodeNumber inode, const Attributes& attributes) {
  Changing lock(*this, handle);
  return lock.ended(volume_->write_inode(inode, attributes));
}

Result<InodeNumber> Ext4Format::create_inode(Handle& handle, InodeNumber parent, const Attributes& attributes) {
  Changing lock(*this, handle);
  return lock.ended(volume_->create_inode(parent, attributes, next_generation()));
}

Status Ext4Format::free_inode(Handle& handle, InodeNumber inode) {
  Changing lock(*this, handle);
  if (Status named = check_named(inode); !named) return lock.ended(std::move(named));
  return lock.ended(volume_->free_inode(inode));
}

Status Ext4Format::add_orphan(Handle& handle, InodeNumber inode) {
  Changing lock(*this, handle);
  return lock.ended(volume_->add_orphan(inode));
}

Status Ext4Format::remove_orphan(Handle& handle, InodeNumber inode) {
  Changing lock(*this, handle);
  return lock.ended(volume_->remove_orphan(inode));
}

Result<std::vector<InodeNumber>> Ext4Format::orphans() {
  const Reading lock(*this);
  return volume_->orphans().all();
}

// --- blocks of files ---

Status Ext4Format::extents(InodeNumber inode, PageRange range, std::vector<Extent>& found) {
  const Reading lock(*this);
  const std::size_t before = found.size();
  HF_TRY(find_extents(*volume_, inode, range, found));
  // A file whose bytes went through the journal: what lies on the device is not what it holds.
  for (std::size_t i = before; i < found.size(); ++i) {
    if (!volume_->is_stale({found[i].pfn.raw(), found[i].count.raw()})) continue;
    HF_ASSIGN(const RawInode* const raw_inode, volume_->inode(inode));
    if (!LINUX_S_ISREG(raw_inode->body.i_mode)) continue;
    return Error(EUCLEAN, volume_->name(), fmt::format("inode {}: its bytes are in the journal", raw(inode)),
                 "mount the pool for writing once, or run e2fsck -p");
  }
  return {};
}

Result<PageIndex> Ext4Format::allocate(Handle& handle, InodeNumber inode, PageRange range, Initial initial,
                                       std::vector<Extent>& added) {
  Changing lock(*this, handle);
  const std::uint64_t pieces = pieces_to_take(lock.log_room(), volume_->geometry());
  return lock.ended(allocate_extents(*volume_, inode, range, initial, added, pieces));
}

Status Ext4Format::mark_written(Handle& handle, InodeNumber inode, PageRange range) {
  Changing lock(*this, handle);
  return lock.ended(ext4::mark_written(*volume_, inode, range));
}

Status Ext4Format::mark_unwritten(Handle& handle, InodeNumber inode, PageRange range) {
  Changing lock(*this, handle);
  return lock.ended(ext4::mark_unwritten(*volume_, inode, range));
}

Result<PageIndex> Ext4Format::remove(Handle& handle, InodeNumber inode, PageRange range, std::uint32_t extents_max) {
  Changing lock(*this, handle);
  extents_max = std::min(extents_max, extents_to_free(lock.log_room(), volume_->geometry()));
  return lock.ended(remove_extents(*volume_, inode, range, extents_max));
}

Status Ext4Format::move(Handle& handle, InodeNumber from, PageRange range, InodeNumber to, PageIndex to_index) {
  Changing lock(*this, handle);
  return lock.ended(move_extents(*volume_, from, range, to, to_index));
}

PageCount Ext4Format::cluster() const { return PageCount(volume_->blocks_per_cluster()); }

// --- names ---

Result<std::optional<Name>> Ext4Format::lookup(InodeNumber directory, std::string_view name) {
  const Reading lock(*this);
  return ext4::lookup(*volume_, directory, name);
}

Status Ext4Format::add_name(Handle& handle, InodeNumber directory, const Name& name) {
  Changing lock(*this, handle);
  return lock.ended(ext4::add_name(*volume_, directory, name));
}

Status Ext4Format::remove_name(Handle& handle, InodeNumber directory, std::string_view name) {
  Changing lock(*this, handle);
  return lock.ended(ext4::remove_name(*volume_, directory, name));
}

Status Ext4Format::replace_name(Handle& handle, InodeNumber directory, const Name& name) {
  Changing lock(*this, handle);
  return lock.ended(ext4::replace_name(*volume_, directory, name));
}

Status Ext4Format::make_directory(Handle& handle, InodeNumber directory, InodeNumber parent) {
  Changing lock(*this, handle);
  return lock.ended(ext4::make_directory(*volume_, directory, parent));
}

Status Ext4Format::set_parent(Handle& handle, InodeNumber directory, InodeNumber parent) {
  Changing lock(*this, handle);
  return lock.ended(ext4::set_parent(*volume_, directory, parent));
}

Result<bool> Ext4Format::directory_empty(InodeNumber directory) {
  const Reading lock(*this);
  return ext4::directory_empty(*volume_, directory);
}

Result<std::uint64_t> Ext4Format::read_directory(InodeNumber directory, std::uint64_t cursor,
                                                 const NameVisitor& visit) {
  const Reading lock(*this);
  return ext4::read_directory(*volume_, directory, cursor, visit);
}

// --- symbolic links and attributes ---

Result<std::string> Ext4Format::read_symlink(InodeNumber inode) {
  const Reading lock(*this);
  return ext4::read_symlink(*volume_, inode);
}

Status Ext4Format::write_symlink(Handle& handle, InodeNumber inode, std::string_view target) {
  Changing lock(*this, handle);
  return lock.ended(ext4::write_symlink(*volume_, inode, target));
}

Result<std::vector<std::string>> Ext4Format::list_attributes(InodeNumber inode) {
  const Reading lock(*this);
  return ext4::list_attributes(*volume_, inode);
}

Result<std::string> Ext4Format::get_attribute(InodeNumber inode, std::string_view name) {
  const Reading lock(*this);
  return ext4::get_attribute(*volume_, inode, name);
}

Status Ext4Format::set_attribute(Handle& handle, InodeNumber inode, std::string_view name, std::string_view value,
                                 AttributeMode mode) {
  Changing lock(*this, handle);
  return lock.ended(ext4::set_attribute(*volume_, inode, name, value, mode));
}

Status Ext4Format::remove_attribute(Handle& handle, InodeNumber inode, std::string_view name) {
  Changing lock(*this, handle);
  return lock.ended(ext4::remove_attribute(*volume_, inode, name));
}

Status Ext4Format::remove_all_attributes(Handle& handle, InodeNumber inode) {
  Changing lock(*this, handle);
  return lock.ended(ext4::remove_all_attributes(*volume_, inode));
}

// --- the volume ---

namespace {

std::string uuid_text(const std::uint8_t (&uuid)[16]) {
  std::string text;
  for (std::size_t i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += fmt::format("{:02x}", uuid[i]);
  }
  return text;
}

}  // namespace

filesystem::Space Ext4Format::space() {
  const Reading lock(*this);
  const ext2_super_block& super = volume_->superblock();
  const Geometry& geometry = volume_->geometry();
  const Allocator& allocator = volume_->allocator();
  const std::uint64_t cluster_bytes = geometry.blocks_per_cluster() * kBlockBytes;
  filesystem::Space space;
  space.cluster_bytes = cluster_bytes;
  // mke2fs counts its journal there; other makers may have left it 0.
  const std::uint64_t metadata = volume_->groups().metadata_clusters();
  const bool counted = super.s_overhead_clusters >= metadata && super.s_overhead_clusters <= geometry.clusters();
  space.total = (geometry.clusters() - (counted ? super.s_overhead_clusters : metadata)) * cluster_bytes;
  space.withheld = allocator.withheld_clusters() * cluster_bytes;
  // The list's own count, in units of 512 bytes; one that cannot be read is told of elsewhere.
  const Result<RawInode*> bad = volume_->inode_table().get(EXT2_BAD_INO);
  space.bad = bad ? std::uint64_t{(*bad)->body.i_blocks} * 512 : 0;
  space.free = allocator.free_clusters() * cluster_bytes - space.withheld;
  const bool wide = (super.s_feature_incompat & EXT4_FEATURE_INCOMPAT_64BIT) != 0;
  const std::uint64_t reserved_blocks =
      super.s_r_blocks_count | (wide ? std::uint64_t{super.s_r_blocks_count_hi} << 32 : 0);
  const std::uint64_t kept = std::max(reserved_blocks * kBlockBytes, allocator.kept_clusters() * cluster_bytes);
  space.available = space.free > kept ? space.free - kept : 0;
  space.inodes = geometry.inodes;
  space.free_inodes = volume_->inode_allocator().free_inodes();
  space.uuid = uuid_text(super.s_uuid);
  const auto* label = reinterpret_cast<const char*>(super.s_volume_name);
  space.label.assign(label, strnlen(label, sizeof(super.s_volume_name)));
  return space;
}

Result<bool> Ext4Format::block_free(Pfn pfn) {
  const Reading lock(*this);
  return volume_->allocator().is_free(pfn.raw());
}

Result<filesystem::Verification> Ext4Format::verify(const filesystem::VerifyProgress& progress) {
  const Reading lock(*this);
  if (!read_only_) {
    return Error(EINVAL, volume_->name(), "what is mounted for writing changes under the look", "mount it read-only");
  }
  return verify_volume(*volume_, progress);
}

Status Ext4Format::check_resizable(InodeNumber inode) {
  const Reading lock(*this);
  HF_ASSIGN(const RawInode* const raw_inode, volume_->inode(inode));
  HF_ASSIGN(const BlockMap map, block_map(inode, *raw_inode));
  return map == BlockMap::indirect ? require_extents(inode, *raw_inode) : Status();
}

}  // namespace holdfast::ext4
