// Which SIGBUS belongs to us: one raised by an instruction of copy() or zero(), at an address inside a registered range
// of device memory. It becomes CopyOutcome::bus_error; every other SIGBUS goes to the handler that was there before.
//
// The handler is installed for the process when the first range is registered, and stays. A program that installs its
// own later passes on what it does not know, as it should for any library. A thread that blocks SIGBUS is killed by the
// kernel at such a fault: there is nothing to deliver it to.
#pragma once

#include <cstddef>
#include <cstdint>

namespace holdfast::device {

// Registers [begin, begin + length) as long as it lives.
//
// Thread-safety: ranges come and go on any thread while any other thread faults.
class BusErrorRange {
 public:
  BusErrorRange(const void* begin, std::size_t length);
  ~BusErrorRange();
  BusErrorRange(const BusErrorRange&) = delete;
  BusErrorRange& operator=(const BusErrorRange&) = delete;

 private:
  struct Slot;
  friend struct BusErrorRanges;
  Slot* slot_;
};

}  // namespace holdfast::device
