#include "support/smaps.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "base/units.h"

namespace holdfast::test {

namespace {

struct MappingLine {
  std::uintptr_t first;  // of the mapping
  std::uintptr_t end;
  const std::string& mapping;  // its own line
  const std::string& line;     // one of those below it
};

template <typename Visit>
void each_line(Visit visit) {
  std::ifstream smaps("/proc/self/smaps");
  std::string mapping;
  std::uintptr_t first = 0;
  std::uintptr_t end = 0;
  for (std::string line; std::getline(smaps, line);) {
    std::uintptr_t from = 0;
    std::uintptr_t to = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &from, &to) == 2) {  // NOLINT(cert-err34-c): the kernel wrote it
      first = from;
      end = to;
      mapping = line;
    } else {
      visit(MappingLine{first, end, mapping, line});
    }
  }
}

}  // namespace

std::uint64_t mapped_large(std::span<const std::byte> range) {
  const auto begin = reinterpret_cast<std::uintptr_t>(range.data());
  const std::uintptr_t end = begin + range.size();
  std::uint64_t kilobytes = 0;
  each_line([&](const MappingLine& one) {
    if (one.first < begin || one.end > end) return;
    for (const std::string key : {"ShmemPmdMapped:", "FilePmdMapped:", "Shared_Hugetlb:", "Private_Hugetlb:"}) {
      if (one.line.rfind(key, 0) == 0) kilobytes += std::stoull(one.line.substr(key.size()));
    }
  });
  return kilobytes * KiB;
}

std::string unwatched_parts(std::span<const std::byte> range) {
  const auto begin = reinterpret_cast<std::uintptr_t>(range.data());
  std::string found;
  each_line([&](const MappingLine& one) {
    if (one.first >= begin + range.size() || one.end <= begin || one.line.rfind("VmFlags:", 0) != 0) return;
    const bool watched = one.line.find(" um") != std::string::npos || one.line.find(" uw") != std::string::npos ||
                         one.line.find(" ui") != std::string::npos;
    if (!watched && one.mapping.find("holdfast-past-end") == std::string::npos) {
      found += one.mapping + one.line + "\n";
    }
  });
  return found;
}

bool is_present(const std::byte* address) {
  const int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  std::uint64_t entry = 0;
  const auto page = static_cast<off_t>(reinterpret_cast<std::uintptr_t>(address) / kPageBytes);
  const ssize_t got = pread(fd, &entry, sizeof entry, page * static_cast<off_t>(sizeof entry));
  close(fd);
  constexpr std::uint64_t kPresent = std::uint64_t{1} << 63;
  return got == sizeof entry && (entry & kPresent) != 0;
}

}  // namespace holdfast::test
