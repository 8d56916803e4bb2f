// A recording device: memory that is taken for a carrier which survives a power failure, and the record of what would
// be there after one.
//
// The memory is real, so stores are not seen. Seen are flushes and fences, and at each of them what differs from what
// was there before. That is enough: whatever has changed since a fence may be on the medium or not, whether it was
// flushed or not; and it is looked at whenever the writer asks for an order. The record keeps, for each unit
// (sim/cut.h) that may still be old on the medium, what is durable and what it has held since:
//
//   store ──► differs ──seen at a flush or a fence──► a version ──flushed, and the fence has ended──► durable
//
// R1: durable_ and the first version of every unit in units_ are the same bytes.
// R2: latest_ is what was seen last: the last version of a unit in units_, durable_ elsewhere.
// R3: after a fence the medium holds what its thread had flushed, or something newer: older versions are gone.
//
// How carriers differ:
//   lines  /dev/dax. A flush speaks of the bytes at that moment, and a fence of the flushes of its own thread.
//   pages  a file on a disk. A flush is a note; the fence writes what the noted pages hold then, whoever noted them.
//
// Threads may store while a unit is copied: the copy is some mix of before and after, words whole, as the medium's may
// be. A cut is not called before it is over on all threads: fences and flushes of others wait (mutex_).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/result.h"
#include "device/device.h"
#include "device/file_descriptor.h"
#include "sim/cut.h"

namespace holdfast::sim {

enum class Medium : std::uint8_t { lines, pages };

class Recorder {
 public:
  // Called with each fence that has something to lose, in the thread that makes it, before it has ended. It may take
  // long; it may call nothing of the file system on the device, which may hold any lock.
  using Watcher = std::function<void(const Cut& cut)>;

  // New memory of zeros, or with these bytes, all durable.
  Recorder(Medium medium, std::uint64_t bytes);
  Recorder(Medium medium, const Bytes& image);
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  // The device, of the kind that the medium belongs to. Once more when the one before is closed; this object outlives
  // it.
  Result<std::unique_ptr<device::Device>> open();

  // Whom to call from now on; nullptr: nobody.
  void watch(Watcher watcher);
  // A power failure now, without a fence.
  Cut cut();
  std::uint64_t fences() const;
  // Bytes that flushes have named, in whole units.
  std::uint64_t flushed_bytes() const;
  // Lines: what a program does by itself, with no device at hand: flushes the lines that it has stored to, and fences.
  void persist(std::uint64_t offset, std::uint64_t length);

 private:
  friend class Recording;
  struct Unit {
    std::vector<Version> versions;
  };
  struct Range {
    std::uint64_t begin;
    std::uint64_t end;
  };

  void flush(std::uint64_t offset, std::uint64_t length);
  void fence();
  void see(std::uint64_t begin, std::uint64_t end);
  void see_unit(std::uint64_t offset);
  void note_lines(std::uint64_t begin, std::uint64_t end);
  void note_pages();
  void settle();
  Cut make_cut() const;

  const Medium medium_;
  const std::uint64_t unit_bytes_;
  const std::uint64_t size_;
  device::FileDescriptor file_;
  std::byte* memory_ = nullptr;

  mutable std::mutex mutex_;  // all below
  Bytes durable_;             // R1
  Bytes latest_;              // R2
  std::map<std::uint64_t, Unit> units_;
  // What a fence of the thread will make durable: units, and the number of the version that was flushed.
  std::map<std::thread::id, std::map<std::uint64_t, std::uint64_t>> flushed_;
  std::vector<Range> noted_;  // pages: what the next fence writes
  std::uint64_t versions_ = 0;
  std::uint64_t fences_ = 0;
  std::uint64_t flushed_bytes_ = 0;
  Watcher watcher_;
};

}  // namespace holdfast::sim
