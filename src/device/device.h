// A device: bytes at addresses. No files, no pages' lifetimes.
//
// Kinds: an anonymous memfd (4 KiB or hugetlb pages), a file on tmpfs, hugetlbfs or a disk file system, and /dev/dax.
// Every kind is mapped once, whole, as the *device window*: shared, never zapped, MADV_DONTFORK and MADV_DONTDUMP. An
// address inside the window stays good as long as the Device lives.
//
// Thread-safety: every function may be called from any thread at once; construction and destruction are exclusive.
//
// After fork(2) a Device is inert in the child: the window is not there, functions that would change the carrier return
// ECHILD, and the destructor only closes the descriptor. The lock stays with the parent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/units.h"
#include "device/descriptor_identity.h"
#include "device/poison.h"

namespace holdfast::device {

class Durability;
class FileDescriptor;
struct BusError;

enum class Kind : std::uint8_t { memory, tmpfs_file, hugetlb_file, disk_file, devdax };
const char* to_string(Kind kind);

enum class OpenMode : std::uint8_t {
  read_only,   // shared with other readers; the window is PROT_READ; EBUSY while a writer has it
  read_write,  // exclusive; EBUSY names the pid in the way
};

struct MemoryOptions {
  std::uint64_t size = 0;  // bytes; rounded up to the page size
  PageSize page_size = PageSize::base_4k;
  std::string name = "holdfast";  // what /proc/PID/maps shows
};

struct CreateFileOptions {
  std::uint64_t size = 0;  // bytes; rounded up to the carrier's page size
  bool replace = false;    // an existing regular file is cut to nothing first; EEXIST otherwise
};

// What was learned of a carrier at open.
struct Geometry {
  std::uint64_t size = 0;        // bytes that can be addressed, a multiple of 4 KiB and of the page size
  std::uint64_t page_bytes = 0;  // smallest unit that the carrier maps: 4 KiB, 2 MiB or 1 GiB
  Kind kind = Kind::memory;
  bool survives_reboot = false;  // disk files and persistent /dev/dax
  bool makes_units = false;      // allocates units of 2 MiB by itself, though it maps 4 KiB too

  // Persistent memory: what a program stores is durable once it has flushed its own lines and fenced, without a system
  // call, and so without the file system's knowing.
  bool is_persistent_memory() const { return kind == Kind::devdax && survives_reboot; }

  // The largest unit that it can map: its page, or 2 MiB where the kernel makes such units of small pages.
  std::uint64_t unit_bytes() const {
    const bool made_of_pages = page_bytes == kPageBytes && (kind == Kind::memory || kind == Kind::tmpfs_file);
    return made_of_pages ? kOrder2M.pages().bytes() : page_bytes;
  }
};

enum class Contents : std::uint8_t { kept, lost };
using HeldVisitor = std::function<void(Pfn first, PageCount count)>;

class Device {
 public:
  // New zeroed memory. ENOMEM when the memory, or the huge pages, are not there (names /proc/sys/vm/nr_hugepages).
  static Result<std::unique_ptr<Device>> create_memory(const MemoryOptions& options);
  // A new sparse file at `path` of the given size, opened read_write. EEXIST, ENOSPC, EACCES and so on.
  static Result<std::unique_ptr<Device>> create_file(const std::string& path, const CreateFileOptions& options);
  // An existing regular file or /dev/dax character device. Errors name what is in the way:
  // EBUSY (the pid and its start time), ENOENT, EACCES, EINVAL (not a regular file or dax device, size 0).
  static Result<std::unique_ptr<Device>> open(const std::string& path, OpenMode mode);

  // A device that is to be taken for one of `geometry`, on the memory of `file`, with its own idea of what is durable:
  // for src/sim. ENOMEM, EINVAL.
  static Result<std::unique_ptr<Device>> simulate(FileDescriptor file, const std::string& name,
                                                  const Geometry& geometry, std::unique_ptr<Durability> durability);

  // Ends the mapping and the lock. No pin of a page of this device may be left (pagemap holds the device by a count).
  ~Device();
  // The same while the object stays: name and geometry can still be asked for, and nothing else. Exclusive.
  void close();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const Geometry& geometry() const { return geometry_; }
  PageCount pages() const { return PageCount(geometry_.size / kPageBytes); }
  const std::string& name() const { return name_; }
  bool read_only() const { return read_only_; }
  int fd() const { return fd_; }
  // Of fd(): ends the process where the program closed it.
  const DescriptorIdentity& identity() const { return identity_; }

  std::byte* window() const { return window_; }
  std::byte* at(Pfn pfn) const { return window_ + pfn.bytes(); }
  std::byte* at(std::uint64_t device_offset) const { return window_ + device_offset; }

  // Makes sure that stores to the range meet memory: the carrier's space is allocated (fallocate), in whole 2 MiB
  // chunks while that fits. Remembers what it reserved, so that the second call for a chunk is a bit test.
  // Blocks on the carrier: up to 1 ms for each new 2 MiB. The range lies inside the device.
  // ENOSPC: nothing may be stored there; what was reserved of the range stays reserved. ENOTSUP: the carrier's file
  // system cannot allocate ahead. EROFS: opened read-only.
  Status reserve(Pfn first, PageCount count);

  // Makes one unit that the kernel can translate with one entry out of the 2 MiB at `first` (a multiple of 2 MiB):
  // reserves them, then collapses their pages (5 ms the first time; contents stay, translations elsewhere fault again).
  // Never needed for correctness. Nothing to do on hugetlb and on /dev/dax with units of 2 MiB up.
  // EOPNOTSUPP: this carrier or kernel has no units; EAGAIN: pages are in use by the kernel now, or registered with a
  // device; ENOMEM: no free 2 MiB of memory; EINVAL: the unit does not lie inside the device.
  Status make_unit(Pfn first);

  // Whether the kernel is likely to translate the 2 MiB at `first` (a multiple of 2 MiB), whose memory is reserved, as
  // one unit: made by make_unit, by the carrier, or by whoever had the pool before. The kernel is asked once (2 us),
  // and again after some of it was given back; one that does not say is taken to do what the carrier promises.
  bool is_unit(Pfn first) const;

  // Gives the memory behind whole carrier pages in the range back to the carrier (hole punch); contents become zero.
  // False where the carrier cannot, or could not: then contents stay, and so may the memory.
  bool give_back(Pfn first, PageCount count);

  // Sees to it that transfers which a process that died left behind do not reach the range, and says of which parts
  // that is not certain, in order: of `held` some may be held by nobody. With Contents::lost (of blocks that are free)
  // more carriers can: then the pages become zeros. Blocks on the carrier; on a disk, until the range is written.
  void part_from_transfers(Pfn first, PageCount count, Contents contents, const HeldVisitor& held);
  // Whether the carrier can give a range other memory; /dev/dax cannot.
  bool replaces_memory() const;

  // --- memory that is lost (poison.h) ---
  const PoisonList& poison() const { return poison_; }
  // From now on the range is lost, out to whole pages of the carrier. False: all of it was known.
  bool lose(Pfn first, PageCount count);
  // The same of the page where the copy of this thread that failed last met a machine check, if it lies in the window;
  // false for any other bus error. News is told to the listener, which is set before others use the device, and may be
  // called with locks.
  bool learn_of(const BusError& met);
  void listen(std::function<void()> on_news) { on_news_ = std::move(on_news); }

  // Starts making stores of the range durable; fence() waits for all that was started before by this thread.
  // Volatile carriers: orders only. EIO: a page could not be written; its contents are unknown, and every later fence
  // fails too. On disk files flush is a note (30 ns) and fence the work (180-300 us); see write_back.h.
  Status flush(std::uint64_t device_offset, std::uint64_t length);
  Status fence();

 private:
  struct Parts;
  friend struct DeviceBuilder;
  Status check_changeable(const char* what) const;
  Device();

  std::string name_;
  Geometry geometry_;
  std::byte* window_ = nullptr;
  int fd_ = -1;
  DescriptorIdentity identity_;
  bool read_only_ = false;
  PoisonList poison_;
  std::function<void()> on_news_;
  std::unique_ptr<Parts> parts_;
};

}  // namespace holdfast::device
