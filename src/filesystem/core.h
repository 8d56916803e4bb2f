// The mounted file system: what every operation needs at hand, and its life.
//
// Life: mounted -> closing (unmount or the last handle's end) -> drained (no page is referenced) -> destroyed. The
// core is kept alive by shared_ptrs of Filesystem and open files, and after them by the pages themselves: the page
// map's creator reference is given up when the last shared_ptr goes, and drained() destroys the rest.
//
// One operation is one free function in its own file (read.h, truncate.h, rename.h ...) over Core and Inode; each says
// which locks it takes. None holds a lock while it waits for a pin or touches the caller's memory.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include <holdfast/units.h>

#include "base/fork.h"
#include "base/result.h"
#include "device/device.h"
#include "filesystem/format.h"
#include "filesystem/inode.h"
#include "pagemap/pagemap.h"
#include "window/owner.h"

namespace holdfast::filesystem {

class Quarantine;
class UnitMaker;
class Worker;

class Core {
 public:
  // Takes the device and the format that was mounted on it. Cleans the orphans a former mount left (a mount for
  // reading leaves them).
  static Result<std::shared_ptr<Core>> start(std::unique_ptr<device::Device> device, std::unique_ptr<Format> format,
                                             Units units = Units::make);
  ~Core();

  device::Device& device() const { return *device_; }
  Format& format() const { return *format_; }
  pagemap::PageMap& pages() const { return *pages_; }
  InodeTable& inodes() const { return *inodes_; }
  Quarantine& quarantine() const { return *quarantine_; }
  Worker& worker() const { return *worker_; }
  UnitMaker& units() const { return *units_; }
  Mutex& rename_lock() { return rename_lock_; }
  std::uint32_t id() const { return id_; }                  // FileKey::filesystem
  std::uint32_t generation() const { return generation_; }  // fork_generation() where it was made
  bool read_only() const { return read_only_; }
  // Programs make durable what they store without asking anybody (reach.h): on persistent memory that is written.
  bool stores_are_durable() const { return stores_are_durable_; }
  const std::string& name() const { return name_; }
  std::byte* window() const { return window_; }

  // EROFS with the reason, ECHILD in a forked child, or fine. First line of every changing operation.
  Status writable() const;
  // ECHILD in a forked child, ENODEV after unmount. First line of every operation.
  Status usable() const { return __builtin_expect(is_usable(), 1) ? Status() : Status(usable_error()); }
  bool is_usable() const { return fork_generation() == generation_ && !unmounted_.load(std::memory_order_relaxed); }
  Error usable_error() const;

  Status sync();
  // See holdfast::Filesystem::unmount.
  Status unmount(Deadline deadline);
  // The last shared_ptr went (Filesystem and files): closes without blocking; lives on until drained.
  static void abandon(Core* core) noexcept;

  // --- for the layer itself ---
  // The end: nothing refers to the core and no page is referenced.
  static void finish(Core* core) noexcept;
  // Work in the background failed: the image is not marked clean, the first reason is kept.
  void note_failure(const Error& error);
  std::optional<Error> failure() const;
  // Some inode has blocks ahead of its end (allocation.h).
  void note_ahead() { has_ahead_.store(true, std::memory_order_relaxed); }
  // Bytes that a process which died has stored may wait in caches: the next sync of all flushes all.
  void note_unmarked() { has_unmarked_.store(true, std::memory_order_relaxed); }
  bool take_unmarked_note() { return has_unmarked_.exchange(false, std::memory_order_relaxed); }
  bool take_ahead_note() { return has_ahead_.exchange(false, std::memory_order_relaxed); }
  std::atomic<std::uint32_t>& open_files() { return open_files_; }

 private:
  friend struct CoreBuilder;
  friend struct Unmounting;
  struct Keeper;
  Core();
  Status close_format(bool clean);

  std::uint32_t id_ = 0;
  const std::uint32_t generation_ = fork_generation();
  std::string name_;
  std::byte* window_ = nullptr;
  bool read_only_ = false;
  bool stores_are_durable_ = false;
  std::atomic<bool> unmounted_{false};
  std::atomic<bool> has_ahead_{false};
  std::atomic<bool> has_unmarked_{false};
  std::atomic<std::uint32_t> open_files_{0};
  std::unique_ptr<device::Device> device_;
  std::unique_ptr<Format> format_;
  std::unique_ptr<Keeper> keeper_;
  std::unique_ptr<pagemap::PageMap> pages_;
  std::unique_ptr<Quarantine> quarantine_;
  std::unique_ptr<Worker> worker_;
  std::unique_ptr<UnitMaker> units_;
  std::unique_ptr<InodeTable> inodes_;
  Mutex rename_lock_{LockRank::rename};
  mutable Mutex failure_lock_{LockRank::leaf};
  std::optional<Error> failure_ HF_GUARDED_BY(failure_lock_);
};

// When what is written through an open file is durable.
enum class Durable : std::uint8_t {
  when_synced,
  data_at_once,  // O_DSYNC of open(2): before the write returns, with what finds the bytes
  all_at_once,   // O_SYNC: times, too
};

// An open file: a counted inode and what it may do with it. The File of the public interface shares one.
class OpenFile final : public window::Owner {
 public:
  OpenFile(std::shared_ptr<Core> core_in, InodeRef inode_in, bool may_read_in, bool may_write_in,
           Durable durable_in = Durable::when_synced);
  // The last one of an inode records what was written and drops blocks ahead. Bounded.
  ~OpenFile();

  // As the owner of windows.
  std::string name() const override { return inode->path_hint(); }
  Status usable() const override { return core->usable(); }
  std::uint64_t part() const override { return core->device().geometry().page_bytes; }
  std::uint64_t shown_end() const override;
  Status sync(PageRange range) override;
  Result<std::size_t> load(std::uint64_t offset, std::span<std::byte> to) override;
  Result<std::size_t> store(std::uint64_t offset, std::span<const std::byte> from) override;

  const std::shared_ptr<Core> core;  // before inode: outlives it
  const InodeRef inode;
  const bool may_read;
  const bool may_write;
  const Durable durable;
};

}  // namespace holdfast::filesystem
