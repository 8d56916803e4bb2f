#include "ext4/mkfs_probe.h"

#include <cerrno>
#include <cstring>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "device/copy.h"
#include "ext4/superblock.h"

namespace holdfast::ext4 {
namespace {

using namespace std::string_view_literals;

struct Signature {
  std::size_t offset;
  std::string_view bytes;
  const char* what;
};

constexpr Signature kSignatures[] = {
    {0, "XFSB"sv, "an XFS file system"},
    {0x10040, "_BHRfS_M"sv, "a Btrfs file system"},
    {0x400, "\x10\x20\xf5\xf2"sv, "an F2FS file system"},
    {0x8001, "CD001"sv, "an ISO 9660 file system"},
    {3, "NTFS    "sv, "an NTFS file system"},
    {3, "EXFAT   "sv, "an exFAT file system"},
    {0x36, "FAT1"sv, "a FAT file system"},
    {0x52, "FAT32   "sv, "a FAT file system"},
    {0, "hsqs"sv, "a SquashFS image"},
    {0x400, "\xe2\xe1\xf5\xe0"sv, "an EROFS image"},
    {4086, "SWAPSPACE2"sv, "swap space"},
    {0, "LUKS\xba\xbe"sv, "a LUKS volume"},
    {0x218, "LVM2 001"sv, "an LVM physical volume"},
    {0x200, "EFI PART"sv, "a partition table"},
    {0x1fe, "\x55\xaa"sv, "a partition table or boot sector"},
};

constexpr std::size_t kProbedBytes = 0x10040 + 8;

std::string describe_ext(const ext2_super_block& super) {
  const bool ext4 = (super.s_feature_incompat & (EXT3_FEATURE_INCOMPAT_EXTENTS | EXT4_FEATURE_INCOMPAT_64BIT)) != 0;
  const bool journal = (super.s_feature_compat & EXT3_FEATURE_COMPAT_HAS_JOURNAL) != 0;
  std::string text = fmt::format("an {} file system", ext4 ? "ext4" : journal ? "ext3" : "ext2");
  const auto* label = reinterpret_cast<const char*>(super.s_volume_name);
  if (label[0] != '\0') {
    text += fmt::format(" labelled \"{}\"", std::string_view(label, strnlen(label, sizeof(super.s_volume_name))));
  }
  return text;
}

}  // namespace

Result<std::optional<std::string>> find_contents(device::Device& device) {
  std::vector<char> bytes(std::min<std::uint64_t>(kProbedBytes, device.geometry().size));
  if (device::copy(bytes.data(), device.at(std::uint64_t{0}), bytes.size()) != device::CopyOutcome::done) {
    return Error(EIO, device.name(), "reading the start of the device failed");
  }
  if (bytes.size() >= kSuperblockOffset + sizeof(ext2_super_block)) {
    ext2_super_block super;
    std::memcpy(&super, bytes.data() + kSuperblockOffset, sizeof(super));
    if (super.s_magic == EXT2_SUPER_MAGIC) return std::optional(describe_ext(super));
  }
  for (const Signature& signature : kSignatures) {
    if (signature.offset + signature.bytes.size() > bytes.size()) continue;
    if (std::string_view(bytes.data() + signature.offset, signature.bytes.size()) == signature.bytes) {
      return std::optional<std::string>(signature.what);
    }
  }
  return std::optional<std::string>();
}

}  // namespace holdfast::ext4
