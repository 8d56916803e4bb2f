// Device: what bytes. Memory of this process, a pool file on any file system, or a /dev/dax device.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <holdfast/error.h>
#include <holdfast/types.h>

namespace holdfast {

namespace device {
class Device;
}

struct MemoryOptions {
  std::uint64_t size = 0;  // bytes; rounded up to the page size
  PageSize page_size = PageSize::base_4k;
};

// What kind of carrier the bytes live in.
enum class Carrier : std::uint8_t { memory, tmpfs_file, hugetlb_file, disk_file, devdax };

// Move-only; closing ends with the destructor. Thread-safety: const functions from any thread.
class Device {
 public:
  // New zeroed memory that dies with the process. Does not block beyond the allocation.
  // Errors: EINVAL (size 0), ENOMEM (memory or huge pages missing; the remedy names the sysctl). See memfd_create(2).
  static Result<Device> memory(const MemoryOptions& options);

  // A new sparse pool file of `size` bytes, opened for writing. `replace` cuts an existing regular file to nothing.
  // Errors: EEXIST, ENOSPC, EACCES, EINVAL. On failure nothing is left behind.
  static Result<Device> create(const std::string& path, std::uint64_t size, bool replace = false);

  // An existing pool file or /dev/dax device, for this process alone.
  // Errors: EBUSY naming the pid that has it, ENOENT, EACCES, EINVAL (not a regular file or dax device).
  static Result<Device> open(const std::string& path);

  // The same for reading only, shared with other readers. EBUSY while a writer has it.
  static Result<Device> open_read_only(const std::string& path);

  Device(Device&&) noexcept;
  Device& operator=(Device&&) noexcept;
  ~Device();

  std::uint64_t size() const;  // bytes
  Carrier carrier() const;
  const std::string& name() const;

  // The device window: the whole device, mapped once, at an address that stays good while the device or anything
  // mounted on it lives. Register it with io_uring, RDMA or SPDK as one arena; pins hand out addresses inside it.
  std::byte* window() const;

  // For the layers behind this interface.
  explicit Device(std::unique_ptr<device::Device> impl);
  device::Device& impl() const { return *impl_; }
  std::unique_ptr<device::Device> release() &&;

 private:
  std::unique_ptr<device::Device> impl_;
};

// The journal of a new pool.
enum class NewJournal : std::uint8_t {
  automatic,  // on carriers that keep bytes, by size, at most 64 MiB; none elsewhere
  none,
  sized,  // FormatOptions::journal_bytes
};

struct FormatOptions {
  std::uint64_t cluster = 4 * KiB;  // unit of allocation: a power of two, 4 KiB to 2 MiB
  std::string label = {};           // at most 16 bytes
  bool force = false;               // also when the device holds a file system already
  NewJournal journal = NewJournal::automatic;
  std::uint64_t journal_bytes = 0;  // 4 MiB to 4 GiB, at most half of the device
};

// Makes a new, empty ext4 file system on the device. Errors: EEXIST (holds one already, `force` replaces it), EINVAL
// (cluster, label or size of the journal), ENOSPC (device too small; the reason says the least size), EROFS (opened
// read-only).
Status format(Device& device, const FormatOptions& options);

}  // namespace holdfast
