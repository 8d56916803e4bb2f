// ext4 as a format: mounting an image that a device holds, and making one.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "device/device.h"
#include "filesystem/format.h"

namespace holdfast::ext4 {

struct MountOptions {
  bool read_only = false;
  bool trust_memory = false;  // no transfer of a process that had the volume before is under way (take_over.h)
};

// The file system that `device` holds. The device must outlive the format. Read-write, the image is marked as in use
// until close(clean). Takes no time for what the pool holds: bitmaps, inodes and directories are read when needed.
// EINVAL: not an ext4 image, or longer than the device. ENOTSUP: a feature or block size, named with the remedy.
// EUCLEAN: damaged, or not closed cleanly and without a journal (read-only mounts may read it). EROFS: the device is
// read-only. EIO. A journal that has something in it is replayed first; Format::recovery says what.
Result<std::unique_ptr<filesystem::Format>> mount(device::Device& device, const MountOptions& options);

// The journal of a new file system.
enum class NewJournal : std::uint8_t {
  automatic,  // by size, at most 64 MiB, on carriers that keep bytes; none elsewhere
  none,
  sized,  // `journal_bytes`
};

struct MkfsOptions {
  std::uint64_t cluster_bytes = 4096;  // 4 KiB to 2 MiB, a power of two
  std::string label{};                 // at most 16 bytes
  bool force = false;                  // whatever the device holds may go
  std::uint64_t inodes = 0;            // at least so many; 0: one for every 16 KiB
  NewJournal journal = NewJournal::automatic;
  std::uint64_t journal_bytes = 0;  // 4 MiB to 4 GiB, and not more than half of the device
  // For images that come out the same every time.
  std::optional<std::array<std::uint8_t, 16>> uuid{};
  std::optional<FileTime> time{};
};

// Makes an empty file system with a root directory and lost+found. The memory that it touches is that of the first
// descriptors and tables, whatever the size. EEXIST names what is there already. EINVAL: an impossible option, too
// large. ENOSPC: too small, or no memory for it. EROFS. EIO: the device then holds no file system.
Status make_filesystem(device::Device& device, const MkfsOptions& options);

// Bytes below which a device is too small.
std::uint64_t smallest_device(std::uint64_t cluster_bytes);

}  // namespace holdfast::ext4
