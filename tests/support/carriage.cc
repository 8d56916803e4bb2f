#include "support/carriage.h"

namespace holdfast::test {

const char* to_string(Carriage carriage) {
  switch (carriage) {
    case Carriage::memory:
      return "memory";
    case Carriage::tmpfs_file:
      return "tmpfs";
    case Carriage::disk_file:
      return "disk";
    case Carriage::hugetlb:
      return "hugetlb";
  }
  return "unknown";
}

std::unique_ptr<device::Device> make_device(Carriage carriage, std::uint64_t size,
                                            std::optional<ScratchDirectory>& scratch) {
  switch (carriage) {
    case Carriage::memory:
      return device::Device::create_memory({.size = size}).value();
    case Carriage::hugetlb:
      return device::Device::create_memory({.size = size, .page_size = PageSize::huge_2m}).value();
    case Carriage::tmpfs_file:
    case Carriage::disk_file:
      scratch.emplace(carriage == Carriage::tmpfs_file ? tmpfs_parent() : disk_parent());
      return device::Device::create_file(scratch->file("pool"), {.size = size}).value();
  }
  return nullptr;
}

}  // namespace holdfast::test
