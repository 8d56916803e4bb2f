#include "support/page_tables.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <fstream>

#include "base/units.h"

namespace holdfast::test {

bool is_present(const std::byte* address) {
  const int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  std::uint64_t entry = 0;
  const auto page = static_cast<off_t>(reinterpret_cast<std::uintptr_t>(address) / kPageBytes);
  const ssize_t got = pread(fd, &entry, sizeof entry, page * static_cast<off_t>(sizeof entry));
  close(fd);
  constexpr std::uint64_t kPresent = std::uint64_t{1} << 63;
  return got == sizeof entry && (entry & kPresent) != 0;
}

std::string unwatched_parts(const std::byte* begin, std::size_t length) {
  const auto first = reinterpret_cast<std::uintptr_t>(begin);
  std::ifstream smaps("/proc/self/smaps");
  std::string found;
  std::string mapping;
  bool ours = false;
  for (std::string line; std::getline(smaps, line);) {
    std::uintptr_t from = 0;
    std::uintptr_t to = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &from, &to) == 2) {  // NOLINT(cert-err34-c): the kernel wrote it
      ours = from < first + length && to > first;
      mapping = line;
    } else if (ours && line.rfind("VmFlags:", 0) == 0) {
      const bool watched = line.find(" um") != std::string::npos || line.find(" uw") != std::string::npos ||
                           line.find(" ui") != std::string::npos;
      if (!watched && mapping.find("holdfast-past-end") == std::string::npos) found += mapping + line + "\n";
    }
  }
  return found;
}

}  // namespace holdfast::test
