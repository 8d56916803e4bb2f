#include "cli/window_bytes.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/result.h"
#include "cli/copy_bytes.h"
#include "cli/host_file.h"

namespace holdfast::cli {
namespace {

constexpr std::size_t kPiece = MiB;

Status read_window(const Device& device, std::uint64_t offset, std::span<std::byte> into) {
  while (!into.empty()) {
    const iovec local{into.data(), into.size()};
    const iovec remote{device.window() + offset, into.size()};
    const ssize_t got = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
    if (got < 0 && errno != EFAULT) return Error(errno, device.name(), "");
    if (got <= 0) return window_fault(device, offset);
    offset += static_cast<std::uint64_t>(got);
    into = into.subspan(static_cast<std::size_t>(got));
  }
  return {};
}

// A /dev/dax device: it cannot be read by read(2).
class WindowSource final : public SourceFile {
 public:
  explicit WindowSource(const Device& device) : device_(device) {}

  Result<Node> look() const override {
    Node node;
    node.size = node.allocated = device_.size();
    return node;
  }
  Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) const override {
    if (offset >= device_.size()) return std::size_t{0};
    const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), device_.size() - offset));
    HF_TRY(read_window(device_, offset, into.first(length)));
    return length;
  }
  Result<std::uint64_t> next_data(std::uint64_t offset) const override {
    if (offset >= device_.size()) return Error(ENXIO, device_.name(), "");
    return offset;
  }
  Result<std::uint64_t> next_hole(std::uint64_t /*offset*/) const override { return device_.size(); }

 private:
  const Device& device_;
};

}  // namespace

Result<std::unique_ptr<SourceFile>> open_pool_bytes(const Device& device, const std::string& pool) {
  if (device.carrier() != Carrier::devdax) return HostSourceFile::open(pool);
  return std::unique_ptr<SourceFile>(std::make_unique<WindowSource>(device));
}

bool is_zero(std::span<const std::byte> bytes) {
  return bytes.empty() ||
         (bytes[0] == std::byte{0} && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

Status zero_window(const Device& device, const SourceFile& bytes, std::uint64_t offset, std::uint64_t length) {
  const Descriptor zero(open("/dev/zero", O_RDONLY | O_CLOEXEC));
  if (!zero) return Error(errno, "/dev/zero", "");
  std::vector<std::byte> piece(kPiece);
  while (length > 0) {
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(length, kPiece));
    HF_ASSIGN(const std::size_t got, read_whole(bytes, offset, std::span(piece).first(want)));
    if (!is_zero(std::span(piece).first(got)) &&
        read(zero.get(), device.window() + offset, want) != static_cast<ssize_t>(want)) {
      return window_fault(device, offset);
    }
    offset += want;
    length -= want;
  }
  return {};
}

Status sync_window(const Device& device) {
  if (device.carrier() != Carrier::devdax) {
    return msync(device.window(), device.size(), MS_SYNC) == 0 ? Status() : Error(errno, device.name(), "");
  }
#if defined(__x86_64__)
  constexpr std::uint64_t kCacheLine = 64;
  for (std::uint64_t line = 0; line < device.size(); line += kCacheLine) _mm_clflush(device.window() + line);
  _mm_sfence();
#endif
  return {};
}

Error window_fault(const Device& device, std::uint64_t offset) {
  if (device.carrier() == Carrier::hugetlb_file) {
    return {ENOSPC, device.name(), "no huge page is free", "raise /proc/sys/vm/nr_hugepages"};
  }
  return {EIO, device.name(), fmt::format("the memory at byte {} cannot be used", offset),
          "no space may be left where it lies, or the memory is bad"};
}

}  // namespace holdfast::cli
