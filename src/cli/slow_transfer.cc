#include "cli/slow_transfer.h"

#include <fcntl.h>
#include <liburing.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/result.h"

namespace holdfast::cli {
namespace {

constexpr unsigned kQueueEntries = 4;

Error transfer_error(int code, const char* what) { return Error(code, "io_uring", what); }

}  // namespace

struct SlowTransfer::Parts {
  io_uring ring{};
  bool ring_open = false;
  std::array<int, 2> pipe{-1, -1};
  std::span<std::byte> target;
  std::size_t done = 0;

  Parts() = default;
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;
  ~Parts() {
    for (const int fd : pipe) {
      if (fd >= 0) close(fd);
    }
    if (ring_open) io_uring_queue_exit(&ring);
  }

  Status submit() {
    io_uring_sqe* entry = io_uring_get_sqe(&ring);
    if (entry == nullptr) return transfer_error(EAGAIN, "no submission entry");
    io_uring_prep_read_fixed(entry, pipe[0], target.data() + done, static_cast<unsigned>(target.size() - done), 0, 0);
    const int submitted = io_uring_submit(&ring);
    if (submitted < 0) return transfer_error(-submitted, "the read was not accepted");
    return {};
  }
};

SlowTransfer::SlowTransfer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
SlowTransfer::SlowTransfer(SlowTransfer&&) noexcept = default;
SlowTransfer::~SlowTransfer() = default;

Result<SlowTransfer> SlowTransfer::start(std::span<std::byte> target) {
  auto parts = std::make_unique<Parts>();
  parts->target = target;
  if (const int failed = io_uring_queue_init(kQueueEntries, &parts->ring, 0); failed < 0) {
    return transfer_error(-failed, "not available on this machine");
  }
  parts->ring_open = true;
  if (pipe2(parts->pipe.data(), O_CLOEXEC) != 0) return Error(errno, "pipe", "");
  const iovec buffer{target.data(), target.size()};
  if (const int failed = io_uring_register_buffers(&parts->ring, &buffer, 1); failed < 0) {
    return transfer_error(-failed, "the buffer was not registered");
  }
  HF_TRY(parts->submit());
  return SlowTransfer(std::move(parts));
}

Status SlowTransfer::finish(std::byte value) {
  const std::vector<std::byte> bytes(parts_->target.size(), value);
  if (write(parts_->pipe[1], bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
    return Error(errno, "pipe", "the bytes did not fit");
  }
  for (;;) {
    io_uring_cqe* completion = nullptr;
    const int failed = io_uring_wait_cqe(&parts_->ring, &completion);
    if (failed == -EINTR) continue;
    if (failed < 0) return transfer_error(-failed, "no completion");
    const int outcome = completion->res;
    io_uring_cqe_seen(&parts_->ring, completion);
    if (outcome <= 0) return transfer_error(outcome < 0 ? -outcome : EIO, "the read failed");
    parts_->done += static_cast<std::size_t>(outcome);
    if (parts_->done == parts_->target.size()) return {};
    HF_TRY(parts_->submit());
  }
}

}  // namespace holdfast::cli
