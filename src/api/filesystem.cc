#include <holdfast/filesystem.h>

#include <cerrno>
#include <utility>

#include "api/convert.h"
#include "ext4/ext4.h"
#include "filesystem/async.h"
#include "filesystem/attributes.h"
#include "filesystem/core.h"
#include "filesystem/create.h"
#include "filesystem/lease.h"
#include "filesystem/open.h"
#include "filesystem/path.h"
#include "filesystem/pin.h"
#include "filesystem/poison.h"
#include "filesystem/quarantine.h"
#include "filesystem/rename.h"
#include "filesystem/unit_report.h"
#include "filesystem/unlink.h"

namespace holdfast {
namespace {

using filesystem::Core;
using filesystem::InodeRef;
using filesystem::LastLink;

Result<InodeRef> find(Core& core, std::string_view path, Follow follow) {
  HF_TRY(core.usable());
  return filesystem::walk(core, api::own(path), follow == Follow::yes ? LastLink::follow : LastLink::keep);
}

filesystem::Durable durable_of(Open flags) {
  if (has(flags, Open::sync)) return filesystem::Durable::all_at_once;
  return has(flags, Open::data_sync) ? filesystem::Durable::data_at_once : filesystem::Durable::when_synced;
}

Status create_named(Core& core, const std::string& path, const filesystem::NewInode& what) {
  HF_TRY(core.writable());
  HF_ASSIGN(const filesystem::Parent parent, filesystem::walk_to_parent(core, path));
  const Result<InodeRef> created = filesystem::create(core, parent, what, path);
  return created ? Status() : Status(created.error());
}

}  // namespace

Filesystem::Filesystem(std::shared_ptr<Core> core) : core_(std::move(core)) {}
Filesystem::Filesystem(Filesystem&&) noexcept = default;
Filesystem& Filesystem::operator=(Filesystem&&) noexcept = default;
Filesystem::~Filesystem() = default;

Result<Filesystem> Filesystem::mount(Device device, const MountOptions& options) {
  HF_ASSIGN(std::unique_ptr<filesystem::Format> format,
            ext4::mount(device.impl(), {.read_only = options.read_only, .trust_memory = options.trust_memory}));
  HF_ASSIGN(std::shared_ptr<Core> core, Core::start(std::move(device).release(), std::move(format), options.units));
  return Filesystem(std::move(core));
}

Status Filesystem::unmount(const UnmountOptions& options) { return core_->unmount(Deadline::after(options.deadline)); }

Result<File> Filesystem::open(std::string_view path, Open flags, std::uint32_t permissions) {
  const filesystem::OpenMode mode{.read = has(flags, Open::read),
                                  .write = has(flags, Open::write),
                                  .create = has(flags, Open::create),
                                  .exclusive = has(flags, Open::exclusive),
                                  .truncate = has(flags, Open::truncate),
                                  .no_follow = has(flags, Open::no_follow),
                                  .durable = durable_of(flags),
                                  .permissions = permissions};
  HF_ASSIGN(std::shared_ptr<filesystem::OpenFile> file, filesystem::open(core_, api::own(path), mode));
  return File(std::move(file));
}

Result<File> Filesystem::open_unnamed(std::uint32_t permissions) {
  HF_ASSIGN(std::shared_ptr<filesystem::OpenFile> file, filesystem::open_unnamed(core_, permissions));
  return File(std::move(file));
}

Status Filesystem::link_unnamed(const File& file, std::string_view path_of_caller) {
  const std::string path = api::own(path_of_caller);
  if (file.impl()->core != core_) return Error(EXDEV, path, "the file belongs to another pool");
  HF_TRY(core_->writable());
  HF_ASSIGN(const filesystem::Parent parent, filesystem::walk_to_parent(*core_, path));
  HF_TRY(filesystem::add_link(*core_, *file.impl()->inode, parent, path));
  file.impl()->inode->set_path_hint(path);
  return {};
}

Result<Stat> Filesystem::stat(std::string_view path, Follow follow) const {
  HF_ASSIGN(const InodeRef inode, find(*core_, path, follow));
  return api::to_stat(filesystem::raw(inode->number), filesystem::attributes_of(*inode));
}

Status Filesystem::unlink(std::string_view path) { return filesystem::unlink(*core_, api::own(path)); }
Status Filesystem::remove_directory(std::string_view path) {
  return filesystem::remove_directory(*core_, api::own(path));
}

static_assert(static_cast<int>(Rename::exchange) == static_cast<int>(filesystem::RenameMode::exchange));

Status Filesystem::rename(std::string_view from, std::string_view to, Rename mode) {
  return filesystem::rename(*core_, api::own(from), api::own(to), static_cast<filesystem::RenameMode>(mode));
}

Status Filesystem::link(std::string_view existing, std::string_view path_of_caller) {
  const std::string path = api::own(path_of_caller);
  HF_TRY(core_->writable());
  HF_ASSIGN(const InodeRef inode, find(*core_, existing, Follow::no));
  HF_ASSIGN(const filesystem::Parent parent, filesystem::walk_to_parent(*core_, path));
  if (inode->type == filesystem::FileType::directory) {
    return Error(EPERM, std::string(existing), "directories have one name");
  }
  return filesystem::add_link(*core_, *inode, parent, path);
}

Status Filesystem::symlink(std::string_view target, std::string_view path) {
  if (target.empty()) return Error(ENOENT, std::string(path), "a symbolic link needs a target");
  if (target.size() >= filesystem::kPathBytesMax) return Error(ENAMETOOLONG, std::string(path), "");
  const std::string own_target = api::own(target);
  return create_named(*core_, api::own(path),
                      {.type = filesystem::FileType::symlink, .permissions = 0777, .symlink_target = own_target});
}

Result<std::string> Filesystem::read_symlink(std::string_view path) const {
  HF_ASSIGN(const InodeRef inode, find(*core_, path, Follow::no));
  if (inode->type != filesystem::FileType::symlink) return Error(EINVAL, std::string(path), "not a symbolic link");
  return core_->format().read_symlink(inode->number);
}

Status Filesystem::make_node(std::string_view path, const NodeOptions& options) {
  if (options.kind == FileKind::directory || options.kind == FileKind::symlink) {
    return Error(EINVAL, std::string(path), "directories and symbolic links are made otherwise");
  }
  return create_named(*core_, api::own(path),
                      {.type = api::to_internal(options.kind),
                       .permissions = options.permissions,
                       .device_major = options.device_major,
                       .device_minor = options.device_minor});
}

Status Filesystem::make_directory(std::string_view path, std::uint32_t permissions) {
  return create_named(*core_, api::own(path), {.type = filesystem::FileType::directory, .permissions = permissions});
}

Status Filesystem::list(std::string_view path, const std::function<bool(const DirectoryEntry&)>& visit) const {
  HF_ASSIGN(const InodeRef inode, find(*core_, path, Follow::yes));
  if (inode->type != filesystem::FileType::directory) return Error(ENOTDIR, std::string(path), "");
  // Names are gathered a batch at a time, so that `visit` runs with no lock held and may call anything.
  constexpr std::size_t kBatch = 512;
  std::vector<DirectoryEntry> batch;
  std::uint64_t cursor = 0;
  while (cursor != filesystem::kDirectoryEnd) {
    batch.clear();
    HF_ASSIGN(cursor, core_->format().read_directory(
                          inode->number, cursor, [&batch](const filesystem::Name& name, std::uint64_t) {
                            if (name.name == "." || name.name == "..") return true;
                            batch.push_back({name.name, filesystem::raw(name.inode), api::to_public(name.type)});
                            return batch.size() < kBatch;
                          }));
    for (const DirectoryEntry& entry : batch) {
      if (!visit(entry)) return {};
    }
  }
  return {};
}

Status Filesystem::set_permissions(std::string_view path, std::uint32_t permissions) {
  HF_ASSIGN(const InodeRef inode, find(*core_, path, Follow::yes));
  return filesystem::set_permissions(*inode, permissions);
}

Status Filesystem::set_owner(std::string_view path, std::uint32_t uid, std::uint32_t gid, Follow follow) {
  HF_ASSIGN(const InodeRef inode, find(*core_, path, follow));
  return filesystem::set_owner(*inode, uid, gid);
}

Status Filesystem::set_times(std::string_view path, TimeStamp accessed, TimeStamp modified, Follow follow) {
  HF_TRY(api::check_time(accessed));
  HF_TRY(api::check_time(modified));
  HF_ASSIGN(const InodeRef inode, find(*core_, path, follow));
  return filesystem::set_times(*inode, api::to_internal(accessed), api::to_internal(modified));
}

Result<std::vector<std::string>> Filesystem::list_attributes(std::string_view path, Follow follow) const {
  HF_ASSIGN(const InodeRef inode, find(*core_, path, follow));
  return filesystem::list_extended(*inode);
}

Result<std::string> Filesystem::attribute(std::string_view path, std::string_view name, Follow follow) const {
  HF_ASSIGN(const InodeRef inode, find(*core_, path, follow));
  return filesystem::get_extended(*inode, api::own(name));
}

Status Filesystem::set_attribute(std::string_view path, std::string_view name, std::string_view value, Follow follow) {
  HF_ASSIGN(const InodeRef inode, find(*core_, path, follow));
  return filesystem::set_extended(*inode, api::own(name), api::own(value), filesystem::Format::AttributeMode::set);
}

Status Filesystem::remove_attribute(std::string_view path, std::string_view name, Follow follow) {
  HF_ASSIGN(const InodeRef inode, find(*core_, path, follow));
  return filesystem::remove_extended(*inode, api::own(name));
}

Result<std::vector<Pin>> Filesystem::pin_many(std::span<const PinRange> ranges, const PinOptions& options) {
  std::vector<filesystem::InodeRange> wanted;
  wanted.reserve(ranges.size());
  for (const PinRange& range : ranges) {
    if (range.file == nullptr || range.file->impl()->core != core_) {
      return Error(EINVAL, core_->name(), "a range names no file of this pool");
    }
    const filesystem::OpenFile& file = *range.file->impl();
    if (options.access == Access::write && !file.may_write) {
      return Error(EBADF, file.inode->path_hint(), "not opened for writing");
    }
    wanted.push_back({&*file.inode, range.offset, range.length});
  }
  return filesystem::pin_many(*core_, wanted, options);
}

std::vector<PinInfo> Filesystem::pins(std::size_t limit) const { return filesystem::pin_report(*core_, limit); }

std::vector<LeaseInfo> Filesystem::leases() const { return filesystem::lease_report(*core_); }

std::vector<QuarantineInfo> Filesystem::quarantine() const {
  if (!core_->is_usable()) return {};
  return core_->quarantine().list();
}

Status Filesystem::drain(int event_fd) {
  HF_TRY(core_->usable());
  return filesystem::drain(*core_, event_fd);
}

UnitStatistics Filesystem::unit_statistics() const {
  if (!core_->is_usable()) return {};  // as space()
  return filesystem::unit_statistics(*core_);
}

SpaceInfo Filesystem::space() const {
  if (!core_->is_usable()) return {};  // unmounted, or inherited by a forked child
  SpaceInfo info;
  // First: looking at the quarantine frees what nobody holds any more, and that counts as free.
  info.quarantined = core_->quarantine().bytes();
  const filesystem::Space space = core_->format().space();
  info.total = space.total;
  info.free = space.free;
  info.withheld = space.withheld;
  info.bad = space.bad;
  info.available = space.available;
  info.block = space.block_bytes;
  info.cluster = space.cluster_bytes;
  info.inodes = space.inodes;
  info.free_inodes = space.free_inodes;
  info.uuid = space.uuid;
  info.label = space.label;
  return info;
}

RecoveryInfo Filesystem::recovery() const {
  if (!core_->is_usable()) return {};  // as space()
  const filesystem::Recovery done = core_->format().recovery();
  RecoveryInfo info;
  info.transactions = done.transactions;
  info.blocks = done.blocks;
  info.revoked = done.revoked;
  info.in_memory = done.in_memory;
  info.superblock_restored = done.superblock_restored;
  info.predecessor = done.predecessor;
  info.keeps_orphans = done.keeps_orphans;
  return info;
}

Status Filesystem::trust_memory() {
  HF_TRY(core_->writable());
  return core_->format().trust_memory();
}

Status Filesystem::poison(std::uint64_t offset, std::uint64_t length) {
  return filesystem::lose(*core_, offset, length);
}

Result<std::vector<BadRange>> Filesystem::poisoned() const { return filesystem::bad_ranges(*core_); }

Result<VerifyReport> Filesystem::verify(const VerifyProgress& progress) const {
  HF_TRY(core_->usable());
  HF_ASSIGN(filesystem::Verification found, core_->format().verify(progress));
  VerifyReport report;
  report.problems = std::move(found.problems);
  report.problems_untold = found.problems_untold;
  report.files = found.files;
  report.directories = found.directories;
  report.symlinks = found.symlinks;
  report.nodes = found.nodes;
  report.names = found.names;
  return report;
}

Status Filesystem::sync() {
  HF_TRY(core_->usable());
  return core_->sync();
}

bool Filesystem::read_only() const { return core_->read_only(); }
std::byte* Filesystem::window() const { return core_->window(); }

}  // namespace holdfast
