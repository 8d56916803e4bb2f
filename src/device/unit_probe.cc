#include "device/unit_probe.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <cstdint>

#include "base/masked.h"
#include "base/units.h"
#include "device/copy.h"
#include "device/file_descriptor.h"

namespace holdfast::device {
namespace {

// linux/fs.h of 6.7; newer than the headers of Debian 12.
struct PageRegion {
  std::uint64_t start;
  std::uint64_t end;
  std::uint64_t categories;
};
struct ScanArguments {
  std::uint64_t size;
  std::uint64_t flags;
  std::uint64_t start;
  std::uint64_t end;
  std::uint64_t walk_end;
  std::uint64_t regions;
  std::uint64_t regions_count;
  std::uint64_t pages_max;
  std::uint64_t category_inverted;
  std::uint64_t category_mask;
  std::uint64_t category_any;
  std::uint64_t category_return;
};
constexpr unsigned long kPagemapScan = _IOWR('f', 16, ScanArguments);
constexpr std::uint64_t kPageIsHuge = std::uint64_t{1} << 6;

}  // namespace

std::optional<bool> is_translated_as_unit(const std::byte* unit) {
  static const bool without = masked("pagemap-scan");
  if (without) return std::nullopt;
  std::byte first{};
  if (load(&first, unit, 1) != CopyOutcome::done) return std::nullopt;
  // Opened anew: a forked child would ask about its parent.
  const FileDescriptor pagemap(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  if (!pagemap) return std::nullopt;
  PageRegion region{};
  ScanArguments scan{};
  scan.size = sizeof(scan);
  scan.start = reinterpret_cast<std::uintptr_t>(unit);
  scan.end = scan.start + kOrder2M.pages().bytes();
  scan.regions = reinterpret_cast<std::uintptr_t>(&region);
  scan.regions_count = 1;
  scan.category_mask = kPageIsHuge;
  scan.category_return = kPageIsHuge;
  const int found = ioctl(pagemap.get(), kPagemapScan, &scan);
  if (found < 0) return std::nullopt;
  return found == 1 && region.start == scan.start && region.end == scan.end;
}

}  // namespace holdfast::device
