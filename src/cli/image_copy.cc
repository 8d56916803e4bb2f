#include "cli/image_copy.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include <holdfast/filesystem.h>

#include "base/result.h"
#include "base/units.h"
#include "cli/copy_bytes.h"
#include "cli/host_file.h"
#include "cli/host_tree.h"
#include "cli/interrupt.h"
#include "cli/path.h"
#include "cli/pool.h"
#include "cli/window_bytes.h"

namespace holdfast::cli {
namespace {

constexpr std::size_t kPiece = MiB;
constexpr std::size_t kBlock = 4 * KiB;

// Runs of blocks of `bytes` that are alike in being zeros or not: visit(begin, length, zero) for each.
template <typename Visit>
Status each_run(std::span<const std::byte> bytes, Visit visit) {
  for (std::size_t begin = 0; begin < bytes.size();) {
    const auto block = [&](std::size_t at) { return bytes.subspan(at, std::min(kBlock, bytes.size() - at)); };
    const bool zero = is_zero(block(begin));
    std::size_t end = std::min(begin + kBlock, bytes.size());
    while (end < bytes.size() && is_zero(block(end)) == zero) end = std::min(end + kBlock, bytes.size());
    HF_TRY(visit(begin, end - begin, zero));
    begin = end;
  }
  return {};
}

// Calls write(offset, bytes, zero) for runs of [0, size) in order. Holes of the source come as zeros without bytes
// read.
template <typename Write>
Status each_run_of(const SourceFile& source, const std::string& name, std::uint64_t size, Progress& progress,
                   Write write) {
  std::vector<std::byte> piece(kPiece);
  for (std::uint64_t offset = 0; offset < size;) {
    HF_TRY(check_interrupt());
    const Result<std::uint64_t> data = source.next_data(offset);
    if (!data && data.error().code() != ENXIO) return data.error();
    const std::uint64_t begin = data ? std::min(round_down(*data, kBlock), size) : size;
    if (begin > offset) {
      HF_TRY(write(offset, begin - offset, true));
      progress.advance(begin - offset);
      offset = begin;
      continue;
    }
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(kPiece, size - offset));
    HF_ASSIGN(const std::size_t got, read_whole(source, offset, std::span(piece).first(want)));
    if (got < want) return Error(EIO, name, "became shorter while it was copied");
    HF_TRY(each_run(std::span(piece).first(got),
                    [&](std::size_t at, std::size_t length, bool zero) { return write(offset + at, length, zero); }));
    progress.advance(got);
    offset += got;
  }
  return {};
}

Status publish(HostTree& host, NewFile& image, const std::string& file, bool force) {
  Status published = host.publish(image, file);
  if (published || published.error().code() != EEXIST || !force) return published;
  const std::string temporary = join(parent_of(file), fmt::format(".holdfast.{}", getpid()));
  HF_TRY(host.publish(image, temporary));
  Status renamed = host.rename(temporary, file);
  if (!renamed) unlink(temporary.c_str());
  return renamed;
}

// Whether the start of the pool, where every file system keeps something, holds anything.
Result<bool> is_empty(const SourceFile& pool) {
  std::vector<std::byte> start(kPiece);
  HF_ASSIGN(const std::size_t got, read_whole(pool, 0, start));
  return is_zero(std::span(start).first(got));
}

// Writes the runs of an image into a device's window; block 0, which makes an image of it, last.
class Importer {
 public:
  // `pool`: the bytes of the device, for reading.
  Importer(const SourceFile& source, std::string name, Device& device, const SourceFile& pool, bool fresh)
      : source_(source), name_(std::move(name)), device_(device), pool_(pool), fresh_(fresh) {}

  Result<std::uint64_t> import(std::uint64_t size, Progress& progress) {
    HF_TRY(zero_window(device_, pool_, 0, kBlock));
    HF_TRY(each_run_of(source_, name_, size, progress, [this](std::uint64_t offset, std::uint64_t length, bool zero) {
      if (offset < kBlock) {
        const std::uint64_t skipped = std::min(length, kBlock - offset);
        offset += skipped;
        length -= skipped;
      }
      return zero ? clear(offset, length) : fill(offset, length);
    }));
    HF_TRY(sync_window(device_));
    HF_TRY(fill(0, kBlock));
    HF_TRY(sync_window(device_));
    return written_;
  }

 private:
  Status clear(std::uint64_t offset, std::uint64_t length) {
    return fresh_ || length == 0 ? Status() : zero_window(device_, pool_, offset, length);
  }

  Status fill(std::uint64_t offset, std::uint64_t length) {
    while (length > 0) {
      const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(length, kPiece));
      const Result<std::size_t> got = read_whole(source_, offset, {device_.window() + offset, want});
      if (!got && got.error().code() == EFAULT) return window_fault(device_, offset);
      if (!got) return got.error();
      if (*got < want) return Error(EIO, name_, "became shorter while it was copied");
      offset += want;
      length -= want;
      written_ += want;
    }
    return {};
  }

  const SourceFile& source_;
  const std::string name_;
  Device& device_;
  const SourceFile& pool_;
  const bool fresh_;
  std::uint64_t written_ = 0;
};

}  // namespace

Result<ImageCopied> export_image(const std::string& pool, const std::string& file, bool force, Progress& progress) {
  HF_ASSIGN(const Device device, Device::open_read_only(pool));
  struct stat there {};
  struct stat carrier {};
  if (lstat(file.c_str(), &there) == 0) {
    if (!force) return Error(EEXIST, file, "there already", "--force replaces it");
    if (S_ISDIR(there.st_mode)) return Error(EISDIR, file, "is a directory", "name a file in it");
    if (stat(pool.c_str(), &carrier) == 0 && carrier.st_dev == there.st_dev && carrier.st_ino == there.st_ino) {
      return Error(EBUSY, file, "is the pool itself", "choose another name");
    }
  }
  HF_ASSIGN(const std::unique_ptr<SourceFile> source, open_pool_bytes(device, pool));
  HostTree host;
  HF_ASSIGN(const std::unique_ptr<NewFile> image, host.new_file(parent_of(file)));
  ImageCopied copied{.size = device.size()};
  progress.expect(copied.size, 1);
  std::vector<std::byte> piece(kPiece);
  HF_TRY(each_run_of(*source, pool, copied.size, progress,
                     [&](std::uint64_t offset, std::uint64_t length, bool zero) -> Status {
                       if (zero) return {};
                       const std::span<std::byte> bytes = std::span(piece).first(static_cast<std::size_t>(length));
                       HF_ASSIGN(const std::size_t got, read_whole(*source, offset, bytes));
                       copied.written += got;
                       if (Status written = image->write(offset, bytes.first(got)); !written) {
                         return std::move(written).error().about(file);
                       }
                       return {};
                     }));
  HF_TRY(image->set_size(copied.size));
  HF_TRY(image->set_permissions(there.st_mode != 0 ? there.st_mode & 0777U : 0644U));
  HF_TRY(publish(host, *image, file, force));
  return copied;
}

Result<ImageCopied> import_image(const std::string& file, const std::string& pool, bool force, Progress& progress) {
  // Mounted while it is copied: known to be sound, and nobody writes to it.
  HF_ASSIGN(const Filesystem image, mount_to_read(file));
  HF_ASSIGN(const std::unique_ptr<SourceFile> source, HostSourceFile::open(file));
  HF_ASSIGN(const Node node, source->look());
  struct stat there {};
  const bool fresh = stat(pool.c_str(), &there) != 0 && errno == ENOENT;
  HF_ASSIGN(Device device, fresh ? Device::create(pool, node.size) : Device::open(pool));
  HF_ASSIGN(const std::unique_ptr<SourceFile> target, open_pool_bytes(device, pool));
  if (!fresh && !force) {
    HF_ASSIGN(const bool empty, is_empty(*target));
    if (!empty) return Error(EEXIST, pool, "is not empty", "--force writes over what it holds");
  }
  if (device.size() < node.size) {
    return Error(ENOSPC, pool, fmt::format("has {} bytes, and the image {}", device.size(), node.size),
                 "make a larger one");
  }
  progress.expect(node.size, 1);
  const Result<std::uint64_t> written = Importer(*source, file, device, *target, fresh).import(node.size, progress);
  if (!written) {
    if (fresh) unlink(pool.c_str());
    return written.error();
  }
  return ImageCopied{.size = node.size, .written = *written};
}

}  // namespace holdfast::cli
