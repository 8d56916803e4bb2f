// Lease: where a range's bytes lie, for somebody who will go by it and can be asked to stop.
//
// A Pin says "these pages stay until I let go". A Lease says the same, and adds: "tell me when somebody wants them". It
// is for those who hand a layout on (a peer that caches extents, a device with a long list of commands): file leases of
// fcntl(2), F_SETLEASE, and the kernel's layout leases (FL_LAYOUT, given to pNFS clients only), with a range and with
// pins.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include <holdfast/error.h>
#include <holdfast/pin.h>
#include <holdfast/types.h>

namespace holdfast {

namespace filesystem {
struct FileLease;
}

struct LeaseOptions {
  Access access = Access::read;  // what will be done to the bytes
  Purpose purpose = {};
  std::chrono::nanoseconds grace = std::chrono::seconds(1);  // how long letting go takes, at most
  // Told once, on a thread that holds no lock of the library: the one that wants the range, or one of the library's;
  // maybe while lease() returns. It must not block and must not change the file, and may release the lease. After the
  // release it is not called any more.
  std::function<void(RecallReason)> on_recall = {};
  int event_fd = -1;                             // where >= 0, gets 1 added when the holder is told (eventfd(2))
  std::chrono::nanoseconds deadline = kForever;  // how long taking it may wait for a truncate that is under way
  OnBreak on_break = OnBreak::wait;
};

// One run of blocks: bytes of the file, and where they are.
struct LeasedExtent {
  std::uint64_t offset = 0;  // in the file
  Segment segment;
};

// A holder that was told of a write and goes on with what it knows is not told again when the blocks are to leave: who
// is told releases, and takes a new lease.
//
// Move-only; releases when destroyed. May be released by any thread, and outlive its File and Filesystem.
//
// What wants the range waits for its release as for that of a pin, by its policy: after `grace` the holder is reported
// as overdue, and nothing is taken from it. Two differences: a write that brings blocks into a hole of the range waits
// for `grace` and then goes on, as it takes nothing away; and a truncate by the holder's own thread tells it first, and
// finds a deadlock (EDEADLK) only in pins that are none of a lease. A store through a window brings blocks and tells
// nobody.
class Lease {
 public:
  Lease() noexcept;
  Lease(Lease&&) noexcept;
  Lease& operator=(Lease&&) noexcept;
  ~Lease();

  // In file order, as they lay when the lease was given; holes are what is missing. These blocks stay until the
  // release.
  std::span<const LeasedExtent> extents() const noexcept;
  // Whether it was asked back: whoever goes by the extents stops, and then releases.
  bool recalled() const noexcept;
  // Waits for nobody but a telling on another thread. Does nothing on an empty lease.
  void release() noexcept;

  // For the layers behind this interface.
  explicit Lease(std::unique_ptr<filesystem::FileLease> impl);

 private:
  std::unique_ptr<filesystem::FileLease> impl_;
};

// One lease, as reports show it.
struct LeaseInfo {
  std::uint32_t inode = 0;
  std::string path;  // as last opened; empty when not known
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::string purpose;
  std::int32_t tid = 0;
  std::chrono::nanoseconds age{};
  bool recalled = false;
  std::chrono::nanoseconds since_recall{};
  std::chrono::nanoseconds grace{};
  bool overdue = false;  // recalled longer ago than its grace
};

}  // namespace holdfast
