#include "support/smaps.h"

#include <cstdio>
#include <fstream>
#include <string>

#include "base/units.h"

namespace holdfast::test {

std::uint64_t mapped_large(std::span<const std::byte> range) {
  std::ifstream smaps("/proc/self/smaps");
  const auto begin = reinterpret_cast<std::uintptr_t>(range.data());
  const std::uintptr_t end = begin + range.size();
  std::uint64_t kilobytes = 0;
  bool ours = false;
  for (std::string line; std::getline(smaps, line);) {
    std::uintptr_t first = 0;
    std::uintptr_t last = 0;
    std::uint64_t value = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &first, &last) == 2) {  // NOLINT(cert-err34-c): the kernel wrote it
      ours = first >= begin && last <= end;
    } else if (ours && (std::sscanf(line.c_str(), "ShmemPmdMapped: %lu kB", &value) == 1 ||    // NOLINT(cert-err34-c)
                        std::sscanf(line.c_str(), "FilePmdMapped: %lu kB", &value) == 1 ||     // NOLINT(cert-err34-c)
                        std::sscanf(line.c_str(), "Shared_Hugetlb: %lu kB", &value) == 1 ||    // NOLINT(cert-err34-c)
                        std::sscanf(line.c_str(), "Private_Hugetlb: %lu kB", &value) == 1)) {  // NOLINT(cert-err34-c)
      kilobytes += value;
    }
  }
  return kilobytes * KiB;
}

}  // namespace holdfast::test
