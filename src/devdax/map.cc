#include "devdax/map.h"

#include <cerrno>

#include "base/mark.h"
#include "device/describe.h"
#include "window/fault_server.h"
#include "window/registry.h"

namespace holdfast::devdax {
namespace {

Status check(const Core& core, const MapRequest& request) {
  HF_TRY(core.usable());
  const std::uint64_t unit = core.part();
  const auto refused = [&core](int code, std::string reason) { return Error(code, core.name(), std::move(reason)); };
  if (request.access == Access::write && core.read_only()) return refused(EROFS, "opened for reading");
  if (request.synchronous && !core.device().geometry().is_persistent_memory()) {
    return Error(EOPNOTSUPP, core.name(), "not persistent memory: stores are not durable by themselves",
                 "map it without `synchronous`");
  }
  if (request.length == 0) return refused(EINVAL, "an empty range");
  if (request.offset % unit != 0 || request.length % unit != 0) {
    return refused(EINVAL, fmt::format("bytes [{}, +{}) are not whole units of {}", request.offset, request.length,
                                       device::describe_bytes(unit)));
  }
  if (request.offset >= core.size() || request.length > core.size() - request.offset) {
    return refused(ENXIO, "the range reaches past the end");
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<window::View>> map(const std::shared_ptr<Core>& core, const MapRequest& request) {
  HF_TRY(check(*core, request));
  const PageRange pages = pages_touched(request.offset, request.length);
  // A device that nobody writes is mapped whole: it needs no faults.
  const ServeFaults serve = window::can_be_watched(core->device()) ? request.faults : ServeFaults::thread;
  const window::Userfaultfd* faults = nullptr;
  if (!core->read_only()) {
    HF_ASSIGN(faults, window::fault_service(serve));
  }
  if (faults == nullptr) HF_TRY(core->track(pages, request.access));
  HF_MARK("devdax.maps");
  HF_ASSIGN(std::shared_ptr<window::View> view, core->windows().add(faults, pages, request.access));
  view->owner = core;
  window::list_view(*view);
  Status there;
  if (faults != nullptr && request.populate) there = view->file().populate(*view, pages, false);
  // Removed meanwhile: it shows bus errors, and so it would stay.
  if (!core->is_usable()) there = core->usable_error();
  if (there) return view;
  window::FileWindows::end(view);
  return Error(there.error()).about(core->name());
}

}  // namespace holdfast::devdax
