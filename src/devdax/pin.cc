#include "devdax/pin.h"

#include <cerrno>

#include "base/mark.h"
#include "pin/attempt.h"
#include "pin/fast.h"
#include "pin/report.h"

namespace holdfast::devdax {
namespace {

Status allowed(const Core& core, const PinOptions& options) {
  HF_TRY(core.usable());
  if (options.access == Access::write && core.read_only()) return Error(EROFS, core.name(), "opened for reading");
  return {};
}

bool fast_way_allowed(const Core& core, const PinOptions& options) {
  return core.is_usable() && !(options.access == Access::write && core.read_only());
}

}  // namespace

Result<Pin> pin(Core& core, std::uint64_t offset, std::uint64_t length, const PinOptions& options) {
  const bool usable = fast_way_allowed(core, options);
  HF_MARK("devdax.pins");
  return pin::take(usable, core.target(), offset, length, options, [&]() -> Result<Pin> {
    HF_TRY(allowed(core, options));
    return pin::take_slowly(core, offset, length, options);
  });
}

Result<Pin> try_pin(Core& core, std::uint64_t offset, std::uint64_t length, const PinOptions& options) {
  return pin::take(fast_way_allowed(core, options), core.target(), offset, length, options, [&]() -> Result<Pin> {
    HF_TRY(allowed(core, options));
    return pin::try_take_slowly(core, offset, length, options);
  });
}

std::vector<PinInfo> pin_report(const Core& core, std::size_t limit) {
  std::vector<PinInfo> report = pin::report(core.id(), limit);
  for (PinInfo& info : report) info.path = core.name();
  return report;
}

}  // namespace holdfast::devdax
