// Which SIGBUS belongs to us: one raised by an instruction of copy() or zero(), at an address inside a registered range
// of device memory, which becomes CopyOutcome::bus_error; and one that somebody above serves, so that the touch is made
// again. Every other SIGBUS goes to the handler that was there before, with the signals blocked that the kernel would
// have blocked for it.
//
// While ours runs, signals of the program wait, but for those that its own instructions raise.
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

// Asked first about every bus error of a running instruction that names an address. True: the touch may be made again.
// Called in the signal handler of the touching thread; errno is kept. May itself copy device memory.
using TouchServer = bool (*)(std::byte* address, bool write);

// For the life of the process.
void serve_bus_errors(TouchServer server);

}  // namespace holdfast::device
