// What every function of Ext4Format begins with: the lock, the handle, the bounds of the caches.
#pragma once

#include <cstdint>
#include <optional>

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

  void done() override { half_done_ = false; }
  // Changes behind the last done().
  bool half_done() const { return half_done_; }
  void changed() { half_done_ = true; }
  // What a function of the handle failed with: the reason if the operation goes no further.
  void failed(const Error& error) { failure_ = error; }
  const std::optional<Error>& failure() const { return failure_; }

 private:
  Ext4Format& format_;
  TransactionRank rank_;
  bool open_ = false;
  std::uint64_t reserved_ = 0;  // clusters set aside for metadata and not taken yet
  std::uint64_t credits_ = 0;   // blocks of metadata that it may change
  bool half_done_ = false;
  std::optional<Error> failure_;
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

// A function that fails must have changed nothing, and whether that is so is looked at here, not believed: one that
// stops amid its changes stops the format, before a commit can make them durable. Test:
// HalfDone.AFunctionThatFailsAmidItsChanges.
class HF_SCOPED_CAPABILITY Ext4Format::Changing {
 public:
  Changing(Ext4Format& format, filesystem::Handle& handle) HF_ACQUIRE(format.mutex_)
      : lock_(format.mutex_), volume_(*format.volume_), handle_(static_cast<OpenHandle&>(handle)) {
    HF_CHECK(&handle_.format() == &format && handle_.is_open(), "a handle of another format");
    volume_.trim();
    volume_.allocator().charge(&handle_.reserved());
    others_ = format.credits_ - handle_.credits();
    before_ = volume_.change_number();
  }
  ~Changing() HF_RELEASE() { volume_.allocator().charge(nullptr); }
  Changing(const Changing&) = delete;
  Changing& operator=(const Changing&) = delete;

  // What the function that holds this answers.
  template <typename Outcome>
  Outcome ended(Outcome outcome) {
    const bool changed = volume_.change_number() != before_;
    if (changed) handle_.changed();
    if (!outcome) {
      handle_.failed(outcome.error());
      if (changed) volume_.stop(outcome.error());
    }
    return outcome;
  }
  // Blocks that may change now without taking from what other handles were promised.
  std::uint64_t log_room() const {
    const std::uint64_t room = volume_.log_room();
    return room > others_ ? room - others_ : 0;
  }

 private:
  MutexLock lock_;
  VolumeCore& volume_;
  OpenHandle& handle_;
  std::uint64_t others_ = 0;
  std::uint64_t before_ = 0;
};

}  // namespace holdfast::ext4
