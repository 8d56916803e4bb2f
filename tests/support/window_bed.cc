#include "support/window_bed.h"

#include <fcntl.h>
#include <setjmp.h>  // NOLINT(modernize-deprecated-headers): sigsetjmp is POSIX
#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigaction is POSIX
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <span>

#include "support/ext4_volume.h"

namespace holdfast::test {
namespace {

thread_local sigjmp_buf landing;
thread_local volatile std::sig_atomic_t landing_is_set = 0;

thread_local const void* landed_at = nullptr;

void land(int signal, siginfo_t* info, void* /*context*/) {
  landed_at = info->si_addr;
  if (landing_is_set != 0) siglongjmp(landing, signal);
  std::signal(signal, SIG_DFL);  // and the instruction once more
}

// The signals that a touch of the byte raises are caught by handlers that were there before the library's: it passes
// bus errors on that are not its own.
[[maybe_unused]] const bool handlers_are_set = [] {
  struct sigaction action {};
  action.sa_sigaction = land;
  action.sa_flags = SA_NODEFER | SA_SIGINFO;
  return sigaction(SIGBUS, &action, nullptr) == 0 && sigaction(SIGSEGV, &action, nullptr) == 0;
}();

// That signal, or 0.
template <typename Touch>
int signal_of(Touch touch) {
  const int caught = sigsetjmp(landing, 1);
  if (caught == 0) {
    landing_is_set = 1;
    touch();
  }
  landing_is_set = 0;
  return caught;
}

int signal_of_load(const std::byte* address) {
  return signal_of([address] { static_cast<void>(*const_cast<const volatile std::byte*>(address)); });
}

}  // namespace

const char* to_string(Carriage carriage) {
  switch (carriage) {
    case Carriage::memory:
      return "memory";
    case Carriage::tmpfs_file:
      return "tmpfs";
    case Carriage::disk_file:
      return "disk";
    case Carriage::hugetlb:
      return "hugetlb";
  }
  return "unknown";
}

std::string to_string(const Showing& showing) {
  return std::string(to_string(showing.carriage)) + (showing.faults == ServeFaults::in_thread ? "_in_thread" : "");
}

void WindowBed::open_pool(Carriage carriage, std::uint64_t size, const MountOptions& options,
                          const FormatOptions& layout) {
  close_pool();
  const auto in_file = [this, size](const std::string& parent) {
    scratch_.emplace(parent);
    return Device::create(scratch_->file("pool"), size);
  };
  Result<Device> device = carriage == Carriage::memory       ? Device::memory({.size = size})
                          : carriage == Carriage::hugetlb    ? Device::memory({size, PageSize::huge_2m})
                          : carriage == Carriage::tmpfs_file ? in_file(tmpfs_parent())
                                                             : in_file(disk_parent());
  Device made = std::move(device).value();
  if (carriage == Carriage::hugetlb) grain_ = 2 * MiB;
  format(made, layout).value();
  fs_.emplace(Filesystem::mount(std::move(made), options).value());
}

WindowBed::~WindowBed() { close_pool(); }

void WindowBed::close_pool(const std::function<void(const std::string&)>& look) {
  if (!fs_) return;
  const Status closed = fs_->unmount();
  EXPECT_TRUE(closed) << closed.error().message();
  fs_.reset();
  if (scratch_) {
    EXPECT_TRUE(e2fsck_clean(scratch_->file("pool")));
    if (look) look(scratch_->file("pool"));
  }
  scratch_.reset();
  grain_ = 4 * KiB;
}

File WindowBed::make_file(const std::string& path, const std::string& contents) {
  File file = fs().open(path, Open::read_write | Open::create).value();
  if (!contents.empty()) write(file, 0, contents);
  return file;
}

std::string pattern(std::uint64_t length) {
  std::string bytes(length, '\0');
  for (std::uint64_t i = 0; i < length; ++i) bytes[i] = static_cast<char>('a' + (i / 7 + i / 4096) % 26);
  return bytes;
}

std::string text(const Window& window, std::uint64_t offset, std::uint64_t length) {
  std::string bytes(length, '\0');
  std::memcpy(bytes.data(), window.data() + offset, length);
  return bytes;
}

std::string contents(const File& file, std::uint64_t offset, std::uint64_t length) {
  std::string bytes(length, '?');
  bytes.resize(file.read(offset, std::as_writable_bytes(std::span(bytes))).value());
  return bytes;
}

void write(File& file, std::uint64_t offset, const std::string& bytes) {
  EXPECT_EQ(file.write(offset, std::as_bytes(std::span(bytes))).value(), bytes.size());
}

bool dies_of_bus_error(const std::byte* address) { return signal_of_load(address) == SIGBUS; }
bool store_dies_of_bus_error(std::byte* address) {
  return signal_of([address] { *const_cast<volatile std::byte*>(address) = std::byte{1}; }) == SIGBUS;
}
const void* bus_error_address() { return landed_at; }
bool dies_of_segmentation(const std::byte* address) { return signal_of_load(address) == SIGSEGV; }

bool calls_fail(const Window& window) {
  return window.faults() == Faults::user_mode || window.faults() == Faults::in_thread;
}

int system_call_reads(const std::byte* address) {
  int ends[2];
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const int code = ::write(ends[1], address, 1) == 1 ? 0 : errno;
  ::close(ends[0]);
  ::close(ends[1]);
  return code;
}

}  // namespace holdfast::test
