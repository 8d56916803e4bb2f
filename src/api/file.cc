#include <holdfast/file.h>

#include <cerrno>
#include <utility>

#include "api/convert.h"
#include "filesystem/async.h"
#include "filesystem/attributes.h"
#include "filesystem/core.h"
#include "filesystem/fallocate.h"
#include "filesystem/lease.h"
#include "filesystem/pin.h"
#include "filesystem/read.h"
#include "filesystem/seek.h"
#include "filesystem/sync.h"
#include "filesystem/truncate.h"
#include "filesystem/unit_report.h"
#include "filesystem/write.h"

namespace holdfast {
namespace {

using filesystem::OpenFile;

Error refused(const OpenFile& file, int code, const char* reason) {
  return Error(code, file.inode->path_hint(), reason);
}

// Apart, so that nothing is left to do after the call where pins are taken.
[[gnu::noinline]] Result<Pin> no_pin_for_writing(const OpenFile& file) {
  return refused(file, EBADF, "not opened for writing");
}

Status readable(const OpenFile& file) {
  HF_TRY(file.core->usable());
  if (!file.may_read) return refused(file, EBADF, "not opened for reading");
  if (file.inode->type == filesystem::FileType::directory) return refused(file, EISDIR, "");
  return {};
}

Status writable(const OpenFile& file) {
  HF_TRY(file.core->writable());
  if (!file.may_write) return refused(file, EBADF, "not opened for writing");
  return {};
}

Deadline deadline_of(std::chrono::nanoseconds duration) { return Deadline::after(duration); }

}  // namespace

File::File(std::shared_ptr<OpenFile> impl) : impl_(std::move(impl)) {}
File::File(File&&) noexcept = default;
File& File::operator=(File&&) noexcept = default;
File::~File() = default;

Result<std::size_t> File::read(std::uint64_t offset, std::span<std::byte> into) const {
  const iovec one{into.data(), into.size()};
  return read(offset, std::span(&one, 1));
}

Result<std::size_t> File::read(std::uint64_t offset, std::span<const iovec> into) const {
  HF_TRY(readable(*impl_));
  return filesystem::read(*impl_->inode, offset, into);
}

Result<std::size_t> File::write(std::uint64_t offset, std::span<const std::byte> from) {
  const iovec one{const_cast<std::byte*>(from.data()), from.size()};  // NOLINT: iovec serves both directions
  return write(offset, std::span(&one, 1));
}

Result<std::size_t> File::write(std::uint64_t offset, std::span<const iovec> from) {
  HF_TRY(writable(*impl_));
  HF_ASSIGN(const std::size_t done, filesystem::write(*impl_->inode, offset, from));
  HF_TRY(filesystem::sync_written(*impl_, offset, done));
  return done;
}

Result<std::uint64_t> File::append(std::span<const std::byte> from) {
  HF_TRY(writable(*impl_));
  HF_ASSIGN(const std::uint64_t offset, filesystem::append(*impl_->inode, from));
  HF_TRY(filesystem::sync_written(*impl_, offset, from.size()));
  return offset;
}

std::uint64_t File::size() const {
  // Pairs with the release store of whoever changed the size: what it published of extents is seen.
  return impl_->inode->size.load(std::memory_order_acquire);
}

Result<Stat> File::stat() const {
  HF_TRY(impl_->core->usable());
  return api::to_stat(filesystem::raw(impl_->inode->number), filesystem::attributes_of(*impl_->inode));
}

Status File::truncate(std::uint64_t size, const BreakOptions& options) {
  HF_TRY(writable(*impl_));
  return filesystem::truncate(*impl_->inode, size, options.on_pinned, deadline_of(options.deadline));
}

Status File::allocate(std::uint64_t offset, std::uint64_t length, Allocate mode) {
  HF_TRY(writable(*impl_));
  return filesystem::allocate(*impl_->inode, offset, length, mode == Allocate::keep_size);
}

Status File::punch(std::uint64_t offset, std::uint64_t length, const BreakOptions& options) {
  HF_TRY(writable(*impl_));
  return filesystem::punch(*impl_->inode, offset, length, options.on_pinned, deadline_of(options.deadline));
}

Status File::zero_range(std::uint64_t offset, std::uint64_t length, const BreakOptions& options) {
  HF_TRY(writable(*impl_));
  return filesystem::zero_range(*impl_->inode, offset, length, options.on_pinned, deadline_of(options.deadline));
}

Status File::truncate_async(std::uint64_t size, const BreakOptions& options, Done done, int event_fd) {
  HF_TRY(writable(*impl_));
  return filesystem::truncate_async(impl_, size, options.on_pinned, deadline_of(options.deadline), std::move(done),
                                    event_fd);
}

Status File::punch_async(std::uint64_t offset, std::uint64_t length, const BreakOptions& options, Done done,
                         int event_fd) {
  HF_TRY(writable(*impl_));
  return filesystem::punch_async(impl_, offset, length, options.on_pinned, deadline_of(options.deadline),
                                 std::move(done), event_fd);
}

Result<std::uint64_t> File::next_data(std::uint64_t offset) const {
  HF_TRY(readable(*impl_));
  return filesystem::next_data(*impl_->inode, offset);
}

Result<std::uint64_t> File::next_hole(std::uint64_t offset) const {
  HF_TRY(readable(*impl_));
  return filesystem::next_hole(*impl_->inode, offset);
}

Result<std::vector<ExtentInfo>> File::extents() const {
  HF_TRY(impl_->core->usable());
  return filesystem::extent_report(*impl_->inode);
}

Result<UnitReport> File::units() const {
  HF_TRY(impl_->core->usable());
  return filesystem::unit_report(*impl_->inode);
}

Result<Pin> File::pin(std::uint64_t offset, std::uint64_t length, const PinOptions& options) {
  if (options.access == Access::write && !impl_->may_write) return no_pin_for_writing(*impl_);
  return filesystem::pin(*impl_->inode, offset, length, options);
}

Result<Pin> File::try_pin(std::uint64_t offset, std::uint64_t length, const PinOptions& options) {
  if (options.access == Access::write && !impl_->may_write) return no_pin_for_writing(*impl_);
  return filesystem::try_pin(*impl_->inode, offset, length, options);
}

Result<Lease> File::lease(std::uint64_t offset, std::uint64_t length, const LeaseOptions& options) {
  if (options.access == Access::write && !impl_->may_write) return refused(*impl_, EBADF, "not opened for writing");
  HF_ASSIGN(std::unique_ptr<filesystem::FileLease> taken, filesystem::lease(*impl_->inode, offset, length, options));
  return Lease(std::move(taken));
}

Status File::sync() {
  HF_TRY(impl_->core->usable());
  return filesystem::sync(*impl_->inode, false);
}

Status File::sync_data() {
  HF_TRY(impl_->core->usable());
  return filesystem::sync(*impl_->inode, true);
}

Status File::sync_data(std::uint64_t offset, std::uint64_t length) {
  HF_TRY(impl_->core->usable());
  if (offset > filesystem::kFileBytesMax || length > filesystem::kFileBytesMax - offset) {
    return refused(*impl_, EINVAL, "the range reaches past the largest size of a file");
  }
  return filesystem::sync(*impl_->inode, true, pages_touched(offset, length));
}

Status File::set_permissions(std::uint32_t permissions) {
  return filesystem::set_permissions(*impl_->inode, permissions);
}

Status File::set_owner(std::uint32_t uid, std::uint32_t gid) { return filesystem::set_owner(*impl_->inode, uid, gid); }

Status File::set_times(TimeStamp accessed, TimeStamp modified) {
  HF_TRY(api::check_time(accessed));
  HF_TRY(api::check_time(modified));
  return filesystem::set_times(*impl_->inode, api::to_internal(accessed), api::to_internal(modified));
}

Result<std::vector<std::string>> File::list_attributes() const { return filesystem::list_extended(*impl_->inode); }

Result<std::string> File::attribute(std::string_view name) const {
  return filesystem::get_extended(*impl_->inode, api::own(name));
}

Status File::set_attribute(std::string_view name, std::string_view value) {
  return filesystem::set_extended(*impl_->inode, api::own(name), api::own(value),
                                  filesystem::Format::AttributeMode::set);
}

Status File::remove_attribute(std::string_view name) {
  return filesystem::remove_extended(*impl_->inode, api::own(name));
}

}  // namespace holdfast
