#include "support/window_bed.h"

#include <cstring>
#include <span>

#include "support/ext4_volume.h"

namespace holdfast::test {

std::string to_string(const Showing& showing) {
  return std::string(to_string(showing.carriage)) + (showing.faults == ServeFaults::in_thread ? "_in_thread" : "");
}

void WindowBed::open_pool(Carriage carriage, std::uint64_t size, const MountOptions& options,
                          const FormatOptions& layout) {
  close_pool();
  Device made(make_device(carriage, size, scratch_));
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

bool calls_fail(const Window& window) {
  return window.faults() == Faults::user_mode || window.faults() == Faults::in_thread;
}

}  // namespace holdfast::test
