// The ten lines of the README: a file in memory, a pin that a device could use, and a truncate that does not race it.
#include <holdfast/holdfast.h>

#include <cstdio>

namespace hf = holdfast;

int main() {
  auto device = hf::Device::memory({.size = 64 * hf::MiB}).value();
  hf::format(device, {}).value();
  auto fs = hf::Filesystem::mount(std::move(device)).value();
  {
    auto file = fs.open("/block-7", hf::Open::read_write | hf::Open::create).value();
    file.allocate(0, 2 * hf::MiB).value();
    const hf::Pin pin = file.pin(0, 2 * hf::MiB, {.access = hf::Access::write, .purpose = "nic read"}).value();
    std::printf("a device may write %zu segment(s) from %p on\n", pin.segments().size(),
                static_cast<void*>(pin.segments()[0].address));
    file.truncate(0, {.on_pinned = hf::OnPinned::detach}).value();  // the file changes now
    std::printf("in quarantine while pinned: %llu bytes\n", static_cast<unsigned long long>(fs.space().quarantined));
  }  // unpinned: the blocks go back to the allocator
  fs.unmount().value();
}
