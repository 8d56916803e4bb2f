// The mounted file system: what every operation needs at hand, and its life.
//
// Life: mounted -> closing (unmount or the last handle's end) -> drained (no page is referenced) -> destroyed. The
// core is kept alive by shared_ptrs of Filesystem and open files, and after them by the pages themselves: the page
// map's creator reference is given up when the last shared_ptr goes, and drained() destroys the rest.
//
// One operation is one free function in its own file (read.h, truncate.h, rename.h ...) over Core and Inode; each says
// which locks it takes. None holds a lock while it waits for a pin or touches the caller's memory.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "device/device.h"
#include "filesystem/format.h"
#include "filesystem/inode.h"
#include "pagemap/pagemap.h"

namespace holdfast::filesystem {

class Quarantine;
class Worker;

class Core {
 public:
  // Takes the device and the format that was mounted on it. Cleans the orphans a former mount left (a mount for
  // reading leaves them).
  static Result<std::shared_ptr<Core>> start(std::unique_ptr<device::Device> device, std::unique_ptr<Format> format);

  device::Device& device() const { return *device_; }
  Format& format() const { return *format_; }
  pagemap::PageMap& pages() const { return *pages_; }
  InodeTable& inodes() const { return *inodes_; }
  Quarantine& quarantine() const { return *quarantine_; }
  Worker& worker() const { return *worker_; }
  Mutex& rename_lock() { return rename_lock_; }
  std::uint32_t id() const { return id_; }  // FileKey::filesystem
  bool read_only() const { return format_->read_only(); }
  const std::string& name() const { return device_->name(); }

  // EROFS with the reason, ECHILD in a forked child, or fine. First line of every changing operation.
  Status writable() const;
  // ECHILD in a forked child. First line of every operation.
  Status usable() const;

  Status sync();
  // See holdfast::Filesystem::unmount.
  Status unmount(Deadline deadline);
  // The last shared_ptr went (Filesystem and files): closes without blocking; lives on until drained.
  static void abandon(Core* core) noexcept;

 private:
  friend struct CoreBuilder;
  Core();

  std::uint32_t id_ = 0;
  std::int32_t owner_pid_ = 0;
  std::unique_ptr<device::Device> device_;
  std::unique_ptr<Format> format_;
  std::unique_ptr<pagemap::PageMap> pages_;
  std::unique_ptr<InodeTable> inodes_;
  std::unique_ptr<Quarantine> quarantine_;
  std::unique_ptr<Worker> worker_;
  Mutex rename_lock_{LockRank::rename};
};

// An open file: a counted inode and what it may do with it. The File of the public interface shares one.
class OpenFile {
 public:
  OpenFile(std::shared_ptr<Core> core_in, InodeRef inode_in, bool may_read_in, bool may_write_in)
      : core(std::move(core_in)), inode(std::move(inode_in)), may_read(may_read_in), may_write(may_write_in) {}
  const std::shared_ptr<Core> core;  // before inode: outlives it
  const InodeRef inode;
  const bool may_read;
  const bool may_write;
};

}  // namespace holdfast::filesystem
