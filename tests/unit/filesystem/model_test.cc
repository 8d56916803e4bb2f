// Random operations on files against a model in plain bytes, with pins taken and dropped among them; after each step
// what it touched is compared, at the end everything. Seeded; a failure names the seed and the step.
#include <map>
#include <random>

#include "filesystem/append.h"
#include "filesystem/fallocate.h"
#include "filesystem/seek.h"
#include "filesystem/sync.h"
#include "filesystem/worker.h"
#include "support/invariants.h"
#include "support/memory_pool.h"

namespace holdfast::test {
namespace {

// A sparse file: pages that are not there are zeros.
class ModelFile {
 public:
  std::uint64_t size() const { return size_; }
  void write(std::uint64_t offset, std::span<const std::byte> bytes) {
    size_ = std::max(size_, offset + bytes.size());
    while (!bytes.empty()) {
      Bytes& page = pages_[offset / kPageBytes];
      page.resize(kPageBytes);
      const std::uint64_t inside = offset % kPageBytes;
      const std::size_t part = std::min<std::size_t>(kPageBytes - inside, bytes.size());
      std::copy_n(bytes.begin(), part, page.begin() + static_cast<std::ptrdiff_t>(inside));
      bytes = bytes.subspan(part);
      offset += part;
    }
  }
  void zero(std::uint64_t begin, std::uint64_t end) {
    for (auto page = pages_.lower_bound(begin / kPageBytes); page != pages_.end() && page->first * kPageBytes < end;
         ++page) {
      const std::uint64_t first = page->first * kPageBytes;
      const std::uint64_t from = std::max(begin, first) - first;
      const std::uint64_t to = std::min(end, first + kPageBytes) - first;
      std::fill(page->second.begin() + static_cast<std::ptrdiff_t>(from),
                page->second.begin() + static_cast<std::ptrdiff_t>(to), std::byte{0});
    }
  }
  void truncate(std::uint64_t size) {
    if (size < size_) zero(size, ~std::uint64_t{0} - kPageBytes);
    size_ = size;
  }
  void extend(std::uint64_t end) { size_ = std::max(size_, end); }
  Bytes read(std::uint64_t offset, std::size_t length) const {
    if (offset >= size_) return {};
    Bytes bytes(std::min<std::uint64_t>(length, size_ - offset));
    for (std::size_t at = 0; at < bytes.size();) {
      const std::uint64_t inside = (offset + at) % kPageBytes;
      const std::size_t part = std::min<std::size_t>(kPageBytes - inside, bytes.size() - at);
      const auto page = pages_.find((offset + at) / kPageBytes);
      if (page != pages_.end()) {
        std::copy_n(page->second.begin() + static_cast<std::ptrdiff_t>(inside), part,
                    bytes.begin() + static_cast<std::ptrdiff_t>(at));
      }
      at += part;
    }
    return bytes;
  }
  std::vector<std::uint64_t> page_starts() const {
    std::vector<std::uint64_t> starts;
    for (const auto& [page, bytes] : pages_) starts.push_back(page * kPageBytes);
    return starts;
  }

 private:
  std::map<std::uint64_t, Bytes> pages_;
  std::uint64_t size_ = 0;
};

struct Shape {
  const char* name;
  PageCount cluster;
  bool scattered;
  std::uint64_t base;  // where in the file the offsets lie
};

class Model : public MemoryPool, public ::testing::WithParamInterface<Shape> {
 protected:
  std::uint64_t random(std::uint64_t below) {
    return std::uniform_int_distribution<std::uint64_t>(0, below - 1)(random_);
  }
  // Offsets gather around page and unit ends, and lie wide apart.
  std::uint64_t some_offset() {
    const std::uint64_t page = random(3) == 0 ? random(1200) : random(40);
    const std::uint64_t inside = random(3) == 0 ? 0 : random(kPageBytes);
    return (random(4) == 0 ? GetParam().base : 0) + page * kPageBytes + inside;
  }
  std::uint64_t some_length() { return 1 + (random(4) == 0 ? random(300'000) : random(20'000)); }

  void compare(std::uint64_t offset, std::size_t length) {
    const std::uint64_t from = offset < 5000 ? 0 : offset - 5000;
    ASSERT_EQ(size_of(file_), model_.size());
    ASSERT_EQ(read(file_, from, length + 10'000), model_.read(from, length + 10'000)) << "at byte " << from;
  }
  void step();
  void take_pin();
  // Detach is the policy while pins are held: this thread could wait for nobody else's.
  OnPinned policy() const { return pins_.empty() ? OnPinned::wait : OnPinned::detach; }

  std::mt19937_64 random_;
  FilePtr file_;
  ModelFile model_;
  std::vector<Pin> pins_;
};

void Model::take_pin() {
  if (model_.size() == 0) return;
  const std::uint64_t offset = std::min(some_offset(), model_.size() - 1);
  const std::uint64_t length = std::min(some_length(), model_.size() - offset);
  const bool writes = random(2) == 0;
  auto taken = filesystem::pin(*file_->inode, offset, length, {.access = writes ? Access::write : Access::read});
  if (!taken) {
    ASSERT_TRUE(taken.error().code() == ENXIO && !writes) << taken.error().message();
    return;
  }
  std::uint64_t at = offset;
  for (const Segment& segment : taken->segments()) {
    const Bytes seen(segment.address, segment.address + segment.length);
    ASSERT_EQ(seen, model_.read(at, segment.length)) << "a pin shows other bytes than the file, at " << at;
    if (writes && random(2) == 0) {
      const Bytes bytes = pattern(segment.length, static_cast<unsigned>(random(1000)));
      std::copy(bytes.begin(), bytes.end(), segment.address);
      model_.write(at, bytes);
    }
    at += segment.length;
  }
  ASSERT_EQ(at, offset + length);
  if (random(2) == 0 && pins_.size() < 6) pins_.push_back(std::move(*taken));
}

void Model::step() {
  const std::uint64_t offset = some_offset();
  const std::uint64_t length = some_length();
  switch (random(12)) {
    case 0:
    case 1:
    case 2: {
      const Bytes bytes = pattern(length, static_cast<unsigned>(random(1000)));
      ASSERT_EQ(write(file_, offset, bytes), length);
      model_.write(offset, bytes);
      break;
    }
    case 3: {
      const Bytes bytes = pattern(length, static_cast<unsigned>(random(1000)));
      ASSERT_EQ(filesystem::append(*file_->inode, bytes).value(), model_.size());
      model_.write(model_.size(), bytes);
      break;
    }
    case 4: {
      const Status cut = truncate(file_, offset, policy());
      ASSERT_TRUE(cut) << cut.error().message();
      model_.truncate(offset);
      break;
    }
    case 5: {
      const Status punched = filesystem::punch(*file_->inode, offset, length, policy(), Deadline::never());
      ASSERT_TRUE(punched) << punched.error().message();
      model_.zero(offset, offset + length);
      break;
    }
    case 6: {
      const Status zeroed = filesystem::zero_range(*file_->inode, offset, length, policy(), Deadline::never());
      ASSERT_TRUE(zeroed) << zeroed.error().message();
      model_.zero(offset, offset + length);
      model_.extend(offset + length);
      break;
    }
    case 7: {
      const bool keep = random(2) == 0;
      const Status allocated = filesystem::allocate(*file_->inode, offset, length, keep);
      ASSERT_TRUE(allocated) << allocated.error().message();
      if (!keep) model_.extend(offset + length);
      break;
    }
    case 8:
    case 9:
      take_pin();
      break;
    case 10:
      if (!pins_.empty()) pins_.erase(pins_.begin() + static_cast<std::ptrdiff_t>(random(pins_.size())));
      break;
    default:
      if (random(4) == 0) {
        ASSERT_TRUE(filesystem::sync(*file_->inode, random(2) == 0));
      }
      break;
  }
  if (HasFatalFailure()) return;
  compare(offset, length);
}

TEST_P(Model, FilesHoldWhatWasWritten) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    random_.seed(seed);
    model_ = {};
    start(32 * MiB, GetParam().cluster, GetParam().scattered);
    file_ = open("/model");
    for (int i = 0; i < 200; ++i) {
      SCOPED_TRACE(fmt::format("step {}", i));
      step();
      if (HasFatalFailure()) return;
      ASSERT_EQ(broken_invariant(*core_), "");
    }
    for (const std::uint64_t page : model_.page_starts()) {
      compare(page, kPageBytes);
      if (HasFatalFailure()) return;
    }
    // What was recorded is what is read after the file was forgotten.
    pins_.clear();
    file_.reset();
    settle();
    {
      const MutexLock turn(core_->worker().turn());
      core_->inodes().drop_unused();
    }
    ASSERT_EQ(core_->inodes().size(), 0U);
    file_ = open("/model", false);
    for (const std::uint64_t page : model_.page_starts()) {
      compare(page, kPageBytes);
      if (HasFatalFailure()) return;
    }
    ASSERT_TRUE(unlink("/model"));
    file_.reset();
    settle();
    EXPECT_EQ(free_pages(), all_free_);
    end();
    EXPECT_TRUE(ending_.clean);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Model,
                         ::testing::Values(Shape{"contiguous", PageCount(1), false, 5 * GiB},
                                           Shape{"scattered", PageCount(1), true, 5 * GiB},
                                           Shape{"clusters", PageCount(16), false, 5 * GiB}),
                         [](const auto& shape) { return std::string(shape.param.name); });

}  // namespace
}  // namespace holdfast::test
