// A raw device: memory without a file system, mapped and pinned in units of 2 MiB, and taken away while somebody has
// it.
#include <fcntl.h>
#include <holdfast/holdfast.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>

namespace hf = holdfast;

// The kernel's copy ends with an error where a load of ours would end with a signal.
static int copy_out(const std::byte* from) {
  int ends[2];
  if (pipe(ends) != 0) return errno;
  const int code = write(ends[1], from, 1) == 1 ? 0 : errno;
  close(ends[0]);
  close(ends[1]);
  return code;
}

int main() {
  auto raw = hf::RawDevice::open(hf::Device::memory({.size = 16 * hf::MiB}).value(), {.unit = hf::PageSize::huge_2m});
  const hf::Window window = raw->map(0, 4 * hf::MiB, {.populate = true}).value();
  std::memcpy(window.data(), "bytes of the device", 20);

  hf::Pin pin = raw->pin(0, 2 * hf::MiB, {.access = hf::Access::write, .purpose = "nic receive"}).value();
  std::printf("pinned: \"%s\"\n", reinterpret_cast<const char*>(pin.segments()[0].address));

  // Another thread removes the device: it says who is in the way.
  std::thread([&raw] {
    const hf::Status removed = raw->remove({.deadline = std::chrono::milliseconds(50)});
    std::printf("%s\n", removed ? "removed" : removed.error().message().c_str());
  }).join();

  // The window shows nothing any more, and the pinned memory is there until the unpin.
  const int code = copy_out(window.data());
  std::printf("write(2) from the window: %s\n", std::strerror(code));
  std::printf("still pinned: \"%s\"\n", reinterpret_cast<const char*>(pin.segments()[0].address));
  pin.release();
  const bool removed = raw->remove().has_value();
  std::printf("%s\n", removed ? "removed" : "still there");
  return removed && code == EFAULT ? 0 : 1;
}
