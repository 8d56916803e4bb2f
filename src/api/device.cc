#include <holdfast/device.h>

#include <utility>

#include "device/device.h"
#include "ext4/ext4.h"

namespace holdfast {
namespace {

Result<Device> wrap(Result<std::unique_ptr<device::Device>> made) {
  if (!made) return std::move(made).error();
  return Device(std::move(made).value());
}

}  // namespace

static_assert(static_cast<int>(Carrier::devdax) == static_cast<int>(device::Kind::devdax));
static_assert(static_cast<int>(Carrier::disk_file) == static_cast<int>(device::Kind::disk_file));

Device::Device(std::unique_ptr<device::Device> impl) : impl_(std::move(impl)) {}
Device::Device(Device&&) noexcept = default;
Device& Device::operator=(Device&&) noexcept = default;
Device::~Device() = default;

Result<Device> Device::memory(const MemoryOptions& options) {
  return wrap(device::Device::create_memory({.size = options.size, .page_size = options.page_size}));
}

Result<Device> Device::create(const std::string& path, std::uint64_t size, bool replace) {
  return wrap(device::Device::create_file(path, {.size = size, .replace = replace}));
}

Result<Device> Device::open(const std::string& path) {
  return wrap(device::Device::open(path, device::OpenMode::read_write));
}

Result<Device> Device::open_read_only(const std::string& path) {
  return wrap(device::Device::open(path, device::OpenMode::read_only));
}

std::uint64_t Device::size() const { return impl_->geometry().size; }
Carrier Device::carrier() const { return static_cast<Carrier>(impl_->geometry().kind); }
const std::string& Device::name() const { return impl_->name(); }
std::byte* Device::window() const { return impl_->window(); }
std::unique_ptr<device::Device> Device::release() && { return std::move(impl_); }

Status format(Device& device, const FormatOptions& options) {
  ext4::NewJournal journal = ext4::NewJournal::automatic;
  if (options.journal == NewJournal::none) journal = ext4::NewJournal::none;
  if (options.journal == NewJournal::sized) journal = ext4::NewJournal::sized;
  return ext4::make_filesystem(device.impl(), {.cluster_bytes = options.cluster,
                                               .label = options.label,
                                               .force = options.force,
                                               .journal = journal,
                                               .journal_bytes = options.journal_bytes});
}

}  // namespace holdfast
