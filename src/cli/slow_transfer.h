// A device transfer that stays in flight until it is told to finish: an io_uring read from an empty pipe into a
// registered buffer. The kernel holds the buffer's pages from registration on, and writes into them when the pipe gets
// its bytes. Needs no privilege and no timing.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include <holdfast/error.h>

namespace holdfast::cli {

class SlowTransfer {
 public:
  // Registers `target` (at most 64 KiB) and submits the read. ENOSYS or EPERM: no io_uring here.
  static Result<SlowTransfer> start(std::span<std::byte> target);
  // Lets the device write `value` into every byte of the target, and waits for the completion.
  Status finish(std::byte value);

  SlowTransfer(SlowTransfer&&) noexcept;
  SlowTransfer& operator=(SlowTransfer&&) = delete;
  ~SlowTransfer();

 private:
  struct Parts;
  explicit SlowTransfer(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace holdfast::cli
