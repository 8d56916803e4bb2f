// What every function of Ext4Format begins with: the lock, the handle, the bounds of the caches.
#pragma once

#include "base/check.h"
#include "base/mutex.h"
#include "ext4/format.h"

namespace holdfast::ext4 {

// Stands for an open handle (or the exclusive right of a commit) in the check of lock ranks: a thread that holds a
// handle may neither begin another nor commit.
class TransactionRank {
 public:
  explicit TransactionRank(const void* of) : of_(of) { lock_order::acquiring(of, LockRank::handle, false); }
  ~TransactionRank() { lock_order::released(of_); }
  TransactionRank(const TransactionRank&) = delete;
  TransactionRank& operator=(const TransactionRank&) = delete;

 private:
  const void* of_;
};

class Ext4Format::OpenHandle final : public filesystem::Handle {
 public:
  explicit OpenHandle(Ext4Format& format) : format_(format), rank_(this) {}
  ~OpenHandle() override;

  void open(std::uint64_t clusters, std::uint64_t credits) {
    open_ = true;
    reserved_ = clusters;
    credits_ = credits;
  }
  bool is_open() const { return open_; }
  std::uint64_t& reserved() { return reserved_; }
  std::uint64_t credits() const { return credits_; }
  const Ext4Format& format() const { return format_; }

 private:
  Ext4Format& format_;
  TransactionRank rank_;
  bool open_ = false;
  std::uint64_t reserved_ = 0;  // clusters set aside for metadata and not taken yet
  std::uint64_t credits_ = 0;   // blocks of metadata that it may change
};

class HF_SCOPED_CAPABILITY Ext4Format::Reading {
 public:
  explicit Reading(Ext4Format& format) HF_ACQUIRE(format.mutex_) : lock_(format.mutex_) {
    HF_CHECK(!format.closed_, "used after close");
    format.volume_->trim();
  }
  ~Reading() HF_RELEASE() {}
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;

 private:
  MutexLock lock_;
};

class HF_SCOPED_CAPABILITY Ext4Format::Changing {
 public:
  Changing(Ext4Format& format, filesystem::Handle& handle) HF_ACQUIRE(format.mutex_)
      : lock_(format.mutex_), allocator_(format.volume_->allocator()) {
    auto& open_handle = static_cast<OpenHandle&>(handle);
    HF_CHECK(&open_handle.format() == &format && open_handle.is_open(), "a handle of another format");
    format.volume_->trim();
    format.volume_->keep_log_room(format.credits_ - open_handle.credits());
    allocator_.charge(&open_handle.reserved());
  }
  ~Changing() HF_RELEASE() { allocator_.charge(nullptr); }
  Changing(const Changing&) = delete;
  Changing& operator=(const Changing&) = delete;

 private:
  MutexLock lock_;
  Allocator& allocator_;
};

}  // namespace holdfast::ext4
