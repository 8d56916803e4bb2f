// ext4 behind the file system's Format interface: the lock, the handles, and when to commit.
//
// One mutex guards everything of the volume; a function takes it, does its work on cached metadata, and lets go. A
// handle is an open operation; commits run when none is open, so what one handle changes becomes durable together.
//
// Invariants, under mutex_:
//   F1 handles_ counts the open handles. While draining_, none is opened, so handles_ only falls.
//   F2 a commit runs with handles_ 0 and the mutex held throughout.
//   F4 credits_ is the sum of what the open handles may change, and the journal has room for that and for what has
//      changed already (log_credits.h).
//   F5 a handle that ends half done, or a function that fails amid its changes, stops the volume before the next
//   commit. F3 the sum of the handles' reservations is the allocator's reserved count.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "ext4/volume_core.h"
#include "filesystem/format.h"

namespace holdfast::ext4 {

class Ext4Format final : public filesystem::Format {
 public:
  explicit Ext4Format(std::unique_ptr<VolumeCore> volume);
  ~Ext4Format() override;

  // Marks the image as in use until close(true): its journal has begun, or it is not clean. `trusted`: take_over.h.
  Status mark_in_use(bool trusted);

  Result<std::unique_ptr<filesystem::Handle>> begin(const filesystem::Reservation& reservation) override;
  Status commit() override;
  // Either a commit that runs at this moment began after the handle of whoever asks had changed something, and is the
  // one; or it has ended, and the number is one more than it need be. acquire: partner is the store in
  // drain_and_commit, behind the last wait for the device.
  std::uint64_t next_commit() const override { return commits_.load(std::memory_order_acquire) + 1; }
  std::uint64_t committed() const override { return commits_.load(std::memory_order_acquire); }
  void stop(const Error& why) override;
  // An image with orphans stays marked as in use whatever `clean` says.
  Status close(bool clean) override;
  Nanoseconds tend_interval() const override;
  Status tend() override;
  filesystem::Recovery recovery() const override;
  Status trust_memory() override;
  Status avoid_lost() override;
  Status bad_blocks(const std::function<void(Pfn first, PageCount count)>& visit) override;

  Result<Attributes> read_inode(InodeNumber inode) override;
  Status write_inode(filesystem::Handle& handle, InodeNumber inode, const Attributes& attributes) override;
  Result<InodeNumber> create_inode(filesystem::Handle& handle, InodeNumber parent,
                                   const Attributes& attributes) override;
  Status free_inode(filesystem::Handle& handle, InodeNumber inode) override;
  Status add_orphan(filesystem::Handle& handle, InodeNumber inode) override;
  Status remove_orphan(filesystem::Handle& handle, InodeNumber inode) override;
  Result<std::vector<InodeNumber>> orphans() override;
  InodeNumber root() const override { return InodeNumber{EXT2_ROOT_INO}; }
  bool read_only() const override { return read_only_; }

  Status extents(InodeNumber inode, PageRange range, std::vector<filesystem::Extent>& found) override;
  Result<PageIndex> allocate(filesystem::Handle& handle, InodeNumber inode, PageRange range,
                             filesystem::Initial initial, std::vector<filesystem::Extent>& added) override;
  Status mark_written(filesystem::Handle& handle, InodeNumber inode, PageRange range) override;
  Status mark_unwritten(filesystem::Handle& handle, InodeNumber inode, PageRange range) override;
  Result<PageIndex> remove(filesystem::Handle& handle, InodeNumber inode, PageRange range,
                           std::uint32_t extents_max) override;
  Status move(filesystem::Handle& handle, InodeNumber from, PageRange range, InodeNumber to,
              PageIndex to_index) override;
  PageCount cluster() const override;

  Result<std::optional<filesystem::Name>> lookup(InodeNumber directory, std::string_view name) override;
  Status add_name(filesystem::Handle& handle, InodeNumber directory, const filesystem::Name& name) override;
  Status remove_name(filesystem::Handle& handle, InodeNumber directory, std::string_view name) override;
  Status replace_name(filesystem::Handle& handle, InodeNumber directory, const filesystem::Name& name) override;
  Status make_directory(filesystem::Handle& handle, InodeNumber directory, InodeNumber parent) override;
  Status set_parent(filesystem::Handle& handle, InodeNumber directory, InodeNumber parent) override;
  Result<bool> directory_empty(InodeNumber directory) override;
  Result<std::uint64_t> read_directory(InodeNumber directory, std::uint64_t cursor, const NameVisitor& visit) override;

  Result<std::string> read_symlink(InodeNumber inode) override;
  Status write_symlink(filesystem::Handle& handle, InodeNumber inode, std::string_view target) override;

  Result<std::vector<std::string>> list_attributes(InodeNumber inode) override;
  Result<std::string> get_attribute(InodeNumber inode, std::string_view name) override;
  Status set_attribute(filesystem::Handle& handle, InodeNumber inode, std::string_view name, std::string_view value,
                       AttributeMode mode) override;
  Status remove_attribute(filesystem::Handle& handle, InodeNumber inode, std::string_view name) override;
  Status remove_all_attributes(filesystem::Handle& handle, InodeNumber inode) override;

  filesystem::Space space() override;
  Result<bool> block_free(Pfn pfn) override;
  Result<filesystem::Verification> verify(const filesystem::VerifyProgress& progress) override;
  Status check_resizable(filesystem::InodeNumber inode) override;

 private:
  class OpenHandle;
  class Reading;
  class Changing;

  // Precondition: the mutex is held. Waits until no handle is open (the mutex is free meanwhile), then commits.
  Status drain_and_commit() HF_REQUIRES(mutex_);
  // Whether a commit should come before the next handle.
  bool commit_is_due(const filesystem::Reservation& reservation) const HF_REQUIRES(mutex_);
  // Sees to it that an operation that begins now may change so many blocks. ENOSPC: more than the whole journal takes.
  Status make_log_room(std::uint64_t credits) HF_REQUIRES(mutex_);
  Status check_writable() const HF_REQUIRES(mutex_);
  // EUCLEAN for inodes that no name may lead to.
  Status check_named(InodeNumber inode) const;
  Status withhold_lost() HF_REQUIRES(mutex_);
  // Records what is lost and withheld, as far as there is space for the list.
  Status retire_and_commit() HF_EXCLUDES(mutex_);
  std::uint32_t next_generation() HF_REQUIRES(mutex_);
  void stop(OpenHandle& handle);

  mutable Mutex mutex_{LockRank::format};
  std::condition_variable_any changed_;
  const std::unique_ptr<VolumeCore> volume_;
  const bool read_only_;
  std::atomic<std::uint64_t> commits_{0};  // that have ended well; changes under mutex_
  std::uint32_t handles_ HF_GUARDED_BY(mutex_) = 0;
  std::uint64_t credits_ HF_GUARDED_BY(mutex_) = 0;
  bool idle_ HF_GUARDED_BY(mutex_) = false;  // nothing was changed between the last two calls of tend
  bool draining_ HF_GUARDED_BY(mutex_) = false;
  bool closed_ HF_GUARDED_BY(mutex_) = false;
  std::uint64_t random_ HF_GUARDED_BY(mutex_) = 0;
};

}  // namespace holdfast::ext4
