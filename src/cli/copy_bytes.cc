#include "cli/copy_bytes.h"

#include <algorithm>
#include <cerrno>
#include <limits>

#include "base/result.h"
#include "cli/interrupt.h"

namespace holdfast::cli {
namespace {

struct Range {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

class Bytes {
 public:
  Bytes(const SourceFile& from, const std::string& from_name, NewFile& to, const std::string& to_name,
        std::span<std::byte> piece, Progress& progress)
      : from_(from), from_name_(from_name), to_(to), to_name_(to_name), piece_(piece), progress_(progress) {}

  Result<std::uint64_t> copy() {
    HF_ASSIGN(const Node before, from_.look());
    if (before.size == 0) return copy_stream();
    // A count of blocks is no proof: it may count what lies behind the end, and a damaged one anything.
    const bool sparse = before.allocated < before.size || before.size > piece_.size();
    for (std::uint64_t offset = 0; offset < before.size;) {
      Range data{offset, before.size};
      if (sparse) {
        HF_ASSIGN(data, next_data(offset, before.size));
      }
      HF_TRY(copy_range(data));
      offset = data.end;
    }
    HF_TRY(about_new(to_.set_size(before.size)));
    HF_ASSIGN(const Node after, from_.look());
    if (after.size != before.size || !same_time(after.modified, before.modified)) return changed();
    return written_;
  }

 private:
  // A file that says it is empty: procfs and sysfs say so of files that are not.
  Result<std::uint64_t> copy_stream() {
    for (;;) {
      HF_TRY(check_interrupt());
      HF_ASSIGN(const std::size_t got, from_.read(written_, piece_));
      if (got == 0) return written_;
      HF_TRY(write(written_, got));
    }
  }

  // An empty range at the end: only a hole is left.
  Result<Range> next_data(std::uint64_t offset, std::uint64_t size) const {
    const Result<std::uint64_t> data = from_.next_data(offset);
    if (!data && data.error().code() == ENXIO) return Range{size, size};
    if (!data && data.error().code() == EINVAL) return Range{offset, size};  // cannot tell: all is data
    if (!data) return data.error();
    HF_ASSIGN(const std::uint64_t hole, from_.next_hole(*data));
    return Range{std::min(*data, size), std::min(hole, size)};
  }

  Status copy_range(Range data) {
    for (std::uint64_t offset = data.begin; offset < data.end;) {
      HF_TRY(check_interrupt());
      // Pieces end at multiples of their size, so that units of allocation are filled in one write.
      const std::uint64_t end = std::min(data.end, (offset / piece_.size() + 1) * piece_.size());
      const std::size_t want = static_cast<std::size_t>(end - offset);
      HF_ASSIGN(const bool written, write_in_place(offset, want));
      if (written) {
        offset = end;
        continue;
      }
      HF_ASSIGN(const std::size_t got, from_.read(offset, piece_.first(want)));
      if (got == 0) return changed();
      HF_TRY(write(offset, got));
      offset += got;
    }
    return {};
  }

  // False: read and write them. EFAULT is the source's: reading says what is wrong there.
  Result<bool> write_in_place(std::uint64_t offset, std::size_t bytes) {
    const std::span<const std::byte> there = from_.in_place(offset, bytes);
    if (there.size() != bytes) return false;
    Status status = to_.write(offset, there);
    if (!status && status.error().code() == EFAULT) return false;
    HF_TRY(about_new(std::move(status)));
    advance(bytes);
    return true;
  }

  Status write(std::uint64_t offset, std::size_t bytes) {
    HF_TRY(about_new(to_.write(offset, piece_.first(bytes))));
    advance(bytes);
    return {};
  }

  void advance(std::size_t bytes) {
    written_ += bytes;
    progress_.advance(bytes);
  }

  Status about_new(Status status) const {
    if (status) return status;
    return std::move(status).error().about(to_name_);
  }

  Error changed() const { return {EAGAIN, from_name_, "changed while it was copied: left out", "copy it again"}; }

  const SourceFile& from_;
  const std::string& from_name_;
  NewFile& to_;
  const std::string& to_name_;
  std::span<std::byte> piece_;
  Progress& progress_;
  std::uint64_t written_ = 0;
};

}  // namespace

Result<std::size_t> read_whole(const SourceFile& file, std::uint64_t offset, std::span<std::byte> into) {
  std::size_t got = 0;
  while (got < into.size()) {
    HF_ASSIGN(const std::size_t more, file.read(offset + got, into.subspan(got)));
    if (more == 0) break;
    got += more;
  }
  return got;
}

bool same_time(TimeStamp a, TimeStamp b) { return a.seconds == b.seconds && a.nanoseconds == b.nanoseconds; }

Result<std::uint64_t> copy_bytes(const SourceFile& from, const std::string& from_name, NewFile& to,
                                 const std::string& to_name, std::span<std::byte> piece, Progress& progress) {
  return Bytes(from, from_name, to, to_name, piece, progress).copy();
}

}  // namespace holdfast::cli
