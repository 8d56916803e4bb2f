#include <holdfast/raw_device.h>

#include <cerrno>
#include <utility>

#include "base/epoch.h"
#include "devdax/core.h"
#include "devdax/map.h"
#include "devdax/pin.h"
#include "window/address.h"

namespace holdfast {
namespace {

using devdax::Core;

Order order_of(PageSize unit) {
  switch (unit) {
    case PageSize::base_4k:
      return kOrder4K;
    case PageSize::huge_2m:
      return kOrder2M;
    case PageSize::huge_1g:
      return kOrder1G;
  }
  __builtin_unreachable();
}

}  // namespace

RawDevice::RawDevice(std::shared_ptr<Core> core) : core_(std::move(core)) {}
RawDevice::RawDevice(RawDevice&&) noexcept = default;
RawDevice& RawDevice::operator=(RawDevice&&) noexcept = default;
RawDevice::~RawDevice() = default;

Result<RawDevice> RawDevice::open(Device device, const RawDeviceOptions& options) {
  HF_ASSIGN(std::shared_ptr<Core> core, Core::start(std::move(device).release(), order_of(options.unit)));
  return RawDevice(std::move(core));
}

Result<Window> RawDevice::map(std::uint64_t offset, std::uint64_t length, const MapOptions& options) {
  HF_ASSIGN(std::shared_ptr<window::View> view, devdax::map(core_, {offset, length, options.access, options.populate,
                                                                    options.faults, options.synchronous}));
  return Window(std::move(view), length);
}

Result<Pin> RawDevice::pin(std::uint64_t offset, std::uint64_t length, const PinOptions& options) {
  return devdax::pin(*core_, offset, length, options);
}

Result<Pin> RawDevice::try_pin(std::uint64_t offset, std::uint64_t length, const PinOptions& options) {
  return devdax::try_pin(*core_, offset, length, options);
}

Result<Pin> RawDevice::pin_address(const void* address, std::uint64_t length, const PinOptions& options) {
  HF_TRY(core_->usable());
  window::ShownBytes shown;
  {
    const epoch::Guard guard;
    HF_ASSIGN(shown, window::shown_at(core_.get(), core_->name(), address, length, options.access));
  }
  // The offset outlives the window: this object keeps the device.
  return devdax::pin(*core_, shown.offset, length, options);
}

std::vector<PinInfo> RawDevice::pins(std::size_t limit) const { return devdax::pin_report(*core_, limit); }

Status RawDevice::remove(const RemoveOptions& options) { return core_->remove(Deadline::after(options.deadline)); }

std::uint64_t RawDevice::size() const { return core_->size(); }
std::uint64_t RawDevice::unit() const { return core_->part(); }
const std::string& RawDevice::name() const { return core_->device().name(); }
std::byte* RawDevice::window() const { return core_->window(); }

}  // namespace holdfast
