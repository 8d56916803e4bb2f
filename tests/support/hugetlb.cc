#include "support/hugetlb.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <fstream>

namespace holdfast::test {
namespace {

std::uint64_t read_number(const std::string& path) {
  std::ifstream file(path);
  std::uint64_t number = 0;
  file >> number;
  return number;
}

bool write_number(const std::string& path, std::uint64_t number) {
  std::ofstream file(path);
  file << number << std::flush;
  return file.good();
}

}  // namespace

HugePages::HugePages(unsigned count, std::uint64_t page_bytes)
    : directory_("/sys/kernel/mm/hugepages/hugepages-" + std::to_string(page_bytes / KiB) + "kB") {
  const std::string knob = directory_ + "/nr_hugepages";
  lock_ = open(knob.c_str(), O_RDONLY | O_CLOEXEC);
  if (lock_ < 0) {
    missing_ = "the kernel has no huge pages of this size";
    return;
  }
  flock(lock_, LOCK_EX);
  if (available() >= count) return;
  if (page_bytes >= GiB) {
    missing_ = "too few are free; to have one: echo 1 > " + knob;
    return;
  }
  restore_ = read_number(knob);
  raised_ = write_number(knob, restore_ + count - available());
  if (!raised_) {
    missing_ = "too few are free and this user may not raise " + knob;
  } else if (available() < count) {
    missing_ = "the kernel could not make " + std::to_string(count) + " huge pages";
  }
}

HugePages::~HugePages() {
  if (raised_) write_number(directory_ + "/nr_hugepages", restore_);
  if (lock_ >= 0) close(lock_);
}

std::uint64_t HugePages::available() const {
  const std::uint64_t free = read_number(directory_ + "/free_hugepages");
  const std::uint64_t promised = read_number(directory_ + "/resv_hugepages");
  return free > promised ? free - promised : 0;
}

}  // namespace holdfast::test
