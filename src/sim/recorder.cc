#include "sim/recorder.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "base/units.h"
#include "device/describe.h"
#include "device/durability.h"
#include "device/persist.h"

namespace holdfast::sim {
namespace {

// Versions of one unit that are kept: of those that nobody flushed, the newest ones.
constexpr std::size_t kVersionsMax = 6;

}  // namespace

// The device's way to its recorder.
class Recording final : public device::Durability {
 public:
  explicit Recording(Recorder& recorder) : recorder_(recorder) {}
  void flush(std::uint64_t offset, std::uint64_t length) override { recorder_.flush(offset, length); }
  Status fence() override {
    recorder_.fence();
    return {};
  }

 private:
  Recorder& recorder_;
};

Recorder::Recorder(Medium medium, std::uint64_t bytes) : Recorder(medium, Bytes(bytes)) {}

Recorder::Recorder(Medium medium, const Bytes& image)
    : medium_(medium),
      unit_bytes_(medium == Medium::lines ? device::kLineBytes : kPageBytes),
      size_(image.size()),
      file_(memfd_create("holdfast-recorder", MFD_CLOEXEC)),
      durable_(image),
      latest_(image) {
  HF_CHECK(file_ && size_ % kPageBytes == 0 && ftruncate(file_.get(), static_cast<off_t>(size_)) == 0,
           "a recorder needs memory of whole pages: {}", errno);
  void* const mapped = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
  HF_CHECK(mapped != MAP_FAILED, "a recorder cannot be mapped: {}", errno);
  memory_ = static_cast<std::byte*>(mapped);
  std::memcpy(memory_, image.data(), size_);
}

Recorder::~Recorder() { munmap(memory_, size_); }

Result<std::unique_ptr<device::Device>> Recorder::open() {
  device::Geometry geometry;
  geometry.size = size_;
  geometry.page_bytes = kPageBytes;
  geometry.kind = medium_ == Medium::lines ? device::Kind::devdax : device::Kind::disk_file;
  geometry.survives_reboot = true;
  device::FileDescriptor file(fcntl(file_.get(), F_DUPFD_CLOEXEC, 0));
  if (!file) return device::failed(errno, "recorder", "cannot be opened once more");
  return device::Device::simulate(std::move(file), "recorder", geometry, std::make_unique<Recording>(*this));
}

void Recorder::watch(Watcher watcher) {
  const std::lock_guard lock(mutex_);
  watcher_ = std::move(watcher);
}

std::uint64_t Recorder::fences() const {
  const std::lock_guard lock(mutex_);
  return fences_;
}

std::uint64_t Recorder::flushed_bytes() const {
  const std::lock_guard lock(mutex_);
  return flushed_bytes_;
}

void Recorder::persist(std::uint64_t offset, std::uint64_t length) {
  HF_CHECK(medium_ == Medium::lines, "a file on a disk takes no flushes of lines");
  flush(offset, length);
  fence();
}

Cut Recorder::cut() {
  const std::lock_guard lock(mutex_);
  see(0, size_);
  return make_cut();
}

void Recorder::flush(std::uint64_t offset, std::uint64_t length) {
  if (length == 0) return;
  const std::uint64_t begin = round_down(offset, unit_bytes_);
  const std::uint64_t end = round_up(offset + length, unit_bytes_);
  const std::lock_guard lock(mutex_);
  flushed_bytes_ += end - begin;
  see(begin, end);
  if (medium_ == Medium::lines) {
    note_lines(begin, end);
  } else {
    for (auto unit = units_.lower_bound(begin); unit != units_.end() && unit->first < end; ++unit) {
      unit->second.versions.back().flushed = true;
    }
    noted_.push_back({begin, end});
  }
}

void Recorder::fence() {
  const std::lock_guard lock(mutex_);
  ++fences_;
  see(0, size_);
  if (medium_ == Medium::pages) note_pages();
  if (watcher_ && !units_.empty()) watcher_(make_cut());
  settle();
}

// --- what has changed ---

void Recorder::see(std::uint64_t begin, std::uint64_t end) {
  for (std::uint64_t page = round_down(begin, kPageBytes); page < end; page += kPageBytes) {
    if (std::memcmp(memory_ + page, latest_.data() + page, kPageBytes) == 0) continue;
    const std::uint64_t first = std::max(page, begin);
    const std::uint64_t last = std::min(page + kPageBytes, end);
    for (std::uint64_t unit = first; unit < last; unit += unit_bytes_) see_unit(unit);
  }
}

void Recorder::see_unit(std::uint64_t offset) {
  // One copy: the unit may be stored to.
  Bytes bytes(memory_ + offset, memory_ + offset + unit_bytes_);
  if (std::memcmp(bytes.data(), latest_.data() + offset, unit_bytes_) == 0) return;
  std::memcpy(latest_.data() + offset, bytes.data(), unit_bytes_);
  std::vector<Version>& versions = units_[offset].versions;
  if (versions.empty()) {
    // Numbered as what was seen last: a flush before it asked for nothing newer.
    versions.push_back({versions_, false, Bytes(durable_.data() + offset, durable_.data() + offset + unit_bytes_)});
  }
  if (versions.size() == kVersionsMax) {
    const auto unasked =
        std::find_if(versions.begin() + 1, versions.end(), [](const Version& v) { return !v.flushed; });
    if (unasked != versions.end()) versions.erase(unasked);
  }
  versions.push_back({++versions_, false, std::move(bytes)});
}

// --- what becomes durable ---

void Recorder::note_lines(std::uint64_t begin, std::uint64_t end) {
  auto& mine = flushed_[std::this_thread::get_id()];
  for (auto unit = units_.lower_bound(begin); unit != units_.end() && unit->first < end; ++unit) {
    Version& now = unit->second.versions.back();
    now.flushed = true;
    mine[unit->first] = now.number;
  }
}

void Recorder::note_pages() {
  auto& mine = flushed_[std::this_thread::get_id()];
  for (const Range& range : noted_) {
    for (auto unit = units_.lower_bound(range.begin); unit != units_.end() && unit->first < range.end; ++unit) {
      Version& now = unit->second.versions.back();
      now.flushed = true;
      mine[unit->first] = now.number;
    }
  }
  noted_.clear();
}

void Recorder::settle() {
  const auto mine = flushed_.find(std::this_thread::get_id());
  if (mine == flushed_.end()) return;
  for (const auto& [offset, number] : mine->second) {
    const auto unit = units_.find(offset);
    if (unit == units_.end()) continue;  // another thread's fence was first
    std::vector<Version>& versions = unit->second.versions;
    const auto kept = std::find_if(versions.begin(), versions.end(),
                                   [number = number](const Version& each) { return each.number >= number; });
    versions.erase(versions.begin(), kept);
    std::memcpy(durable_.data() + offset, versions.front().bytes.data(), unit_bytes_);
    if (versions.size() == 1) units_.erase(unit);
  }
  flushed_.erase(mine);
}

Cut Recorder::make_cut() const {
  Cut cut;
  cut.number = fences_;
  cut.base = std::make_shared<const Bytes>(durable_);
  for (const auto& [offset, unit] : units_) cut.units.push_back({offset, unit.versions});
  return cut;
}

}  // namespace holdfast::sim
