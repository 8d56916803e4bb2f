// Compiled against the installed headers and linked to the installed library: one file through its whole life.
#include <holdfast/holdfast.h>

#include <array>
#include <cstddef>
#include <cstdio>
#include <utility>

namespace hf = holdfast;

namespace {

int run() {
  auto device = hf::Device::memory({.size = 64 * hf::MiB}).value();
  hf::format(device, {.label = "consume"}).value();
  auto filesystem = hf::Filesystem::mount(std::move(device)).value();
  auto file = filesystem.open("/greeting", hf::Open::create | hf::Open::read_write).value();

  const std::array<std::byte, 5> written{std::byte{'h'}, std::byte{'e'}, std::byte{'l'}, std::byte{'l'},
                                         std::byte{'o'}};
  std::array<std::byte, 5> read{};
  if (file.write(0, written).value() != written.size() || file.read(0, read).value() != read.size()) {
    return 1;
  }
  const auto missing = filesystem.open("/missing", hf::Open::read);
  if (missing.has_value()) {
    return 1;
  }
  std::printf("%s\n", missing.error().message().c_str());
  return read == written ? 0 : 1;
}

}  // namespace

int main() { return run(); }
