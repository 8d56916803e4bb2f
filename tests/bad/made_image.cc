#include "bad/made_image.h"

#include <fmt/format.h>

#include "device/device.h"
#include "ext4/ext4.h"
#include "support/program.h"

namespace holdfast::test {
namespace {

constexpr std::int64_t kMoment = 1700000000;
constexpr std::array<std::uint8_t, 16> kUuid = {0x68, 0x6f, 0x6c, 0x64, 0x66, 0x61, 0x43, 0x74,
                                                0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01};
constexpr const char* kUuidText = "686f6c64-6661-4374-8000-000000000001";

}  // namespace

void make_image(const std::string& path, std::uint64_t bytes) {
  const std::unique_ptr<device::Device> device = device::Device::create_file(path, {.size = bytes}).value();
  ext4::make_filesystem(*device, {.uuid = kUuid, .time = FileTime{kMoment, 0}}).value();
}

bool make_image_by_mke2fs(const std::string& path, const std::string& options, std::uint64_t bytes, std::string& said) {
  const std::string command = fmt::format(
      "PATH=$PATH:/sbin:/usr/sbin E2FSPROGS_FAKE_TIME={} mke2fs -q -F -t ext4 -b 4096 -U {} -E hash_seed={} {} '{}' "
      "{}K",
      kMoment, kUuidText, kUuidText, options, path, bytes / 1024);
  return shell(command, &said) == 0;
}

}  // namespace holdfast::test
