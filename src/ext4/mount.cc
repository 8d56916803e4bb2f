// Mounting: a device with an ext4 image on it becomes a Format.
#include "ext4/ext4.h"
#include "ext4/format.h"

namespace holdfast::ext4 {

Result<std::unique_ptr<filesystem::Format>> mount(device::Device& device, const MountOptions& options) {
  HF_ASSIGN(std::unique_ptr<VolumeCore> volume, VolumeCore::open(device, options.read_only));
  auto format = std::make_unique<Ext4Format>(std::move(volume));
  HF_TRY(format->mark_in_use(options.trust_memory));
  return std::unique_ptr<filesystem::Format>(std::move(format));
}

}  // namespace holdfast::ext4
