// Goal: whatever order files are written, cut, grown, allocated, punched, zeroed, pinned, closed and remounted in, they
// hold what they should, and e2fsck finds nothing. Method: seeded programs of such steps against a model, with offsets
// and lengths around the borders of pages, clusters, units and 4 GiB, on pools that also run full.
#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <random>
#include <sstream>

#include "sparse_model.h"
#include "support/invariants.h"
#include "support/pool_fixture.h"

namespace holdfast {
namespace {

using test::code_of;

constexpr std::uint64_t kBytesMax = ((std::uint64_t{1} << 32) - 1) * 4096;

class TruncateModel : public test::PoolTest {
 protected:
  struct Subject {
    std::string name;
    std::optional<File> file;
    test::SparseModel model;
  };

  std::uint64_t any(std::uint64_t below) { return std::uniform_int_distribution<std::uint64_t>(0, below - 1)(random_); }
  template <std::size_t N>
  std::uint64_t one_of(const std::array<std::uint64_t, N>& list) {
    return list.at(any(N));
  }
  std::uint64_t some_offset() {
    const std::uint64_t base =
        one_of<14>({0, 0, 4096, 8192, 65536, 131072, 2 * MiB - 65536, 2 * MiB, 4 * MiB, 4 * MiB - 4096, 4 * GiB - 4096,
                    4 * GiB, 4 * GiB + 2 * MiB, kBytesMax - 8 * MiB});
    const std::uint64_t jitter = one_of<8>({0, 0, 1, 4095, 4096, 4097, any(8192), any(2 * MiB)});
    return any(3) == 0 && base > 0 ? base - std::min(base, std::uint64_t{1}) : base + jitter;
  }
  std::uint64_t some_length() {
    return one_of<13>(
        {1, 100, 4095, 4096, 4097, 8192, 65535, 65536, 65537, 2 * MiB - 1, 2 * MiB, 2 * MiB + 4097, 1 + any(300000)});
  }
  std::uint64_t some_size(const Subject& subject) {
    const std::uint64_t size = subject.model.size();
    switch (any(6)) {
      case 0:
        return size;
      case 1:
        return size - std::min(size, some_length());
      case 2:
        return size + some_length();
      case 3:
        return any(size + 1);
      default:
        return some_offset();
    }
  }

  void open(Subject& subject) {
    subject.file.emplace(fs().open(subject.name, Open::read_write | Open::create).value());
  }

  void write(Subject& subject, std::uint64_t offset, std::uint64_t length) {
    std::vector<std::byte> from(length);
    for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<std::byte>(1 + (i * 7 + stamp_) % 255);
    ++stamp_;
    const Result<std::size_t> done = subject.file->write(offset, from);
    if (!done) {
      ASSERT_EQ(done.error().code(), ENOSPC) << done.error().message();
      return;
    }
    subject.model.write(offset, std::span(from).first(*done));
  }

  void compare(Subject& subject, std::uint64_t offset, std::uint64_t length) {
    std::vector<std::byte> got(length, std::byte{0xEE});
    got.resize(subject.file->read(offset, got).value());
    const std::vector<std::byte> wanted = subject.model.read(offset, length);
    ASSERT_EQ(got.size(), wanted.size()) << subject.name << " at " << offset;
    const auto [wrong, right] = std::mismatch(got.begin(), got.end(), wanted.begin());
    ASSERT_EQ(wrong, got.end()) << subject.name << " at byte "
                                << offset + static_cast<std::uint64_t>(wrong - got.begin()) << ": "
                                << static_cast<int>(*wrong) << " for " << static_cast<int>(*right);
  }

  // Everything that lies in blocks, and around the borders.
  void compare_all(Subject& subject) {
    ASSERT_EQ(subject.file->size(), subject.model.size());
    const std::uint64_t size = subject.model.size();
    for (const std::uint64_t base : {std::uint64_t{0}, 2 * MiB, 4 * MiB, 4 * GiB, size}) {
      ASSERT_NO_FATAL_FAILURE(compare(subject, base - std::min(base, 128 * KiB), 256 * KiB));
    }
    const std::vector<ExtentInfo> extents = subject.file->extents().value();
    for (const ExtentInfo& extent : extents) {
      ASSERT_NO_FATAL_FAILURE(compare(subject, extent.offset, extent.length));
      // e2fsck takes written blocks past the end for damage.
      ASSERT_TRUE(extent.unwritten || extent.offset < size) << extent.offset << " for a size of " << size;
    }
  }

  void nothing_past(const File& file, std::uint64_t size) {
    const std::vector<ExtentInfo> extents = file.extents().value();
    if (extents.empty()) return;
    const std::uint64_t cluster = fs().space().cluster;
    ASSERT_LE(extents.back().offset + extents.back().length, (size + cluster - 1) / cluster * cluster);
  }

  void no_space(const Status& status) {
    ASSERT_EQ(status.error().code(), ENOSPC) << log_.str() << status.error().message();
  }

  // Held pages that stay in part need a block.
  void no_space_for_held(const Status& status) {
    ASSERT_FALSE(pins_.empty()) << status.error().message();
    no_space(status);
  }

  void step(Subject& subject) {
    std::uint64_t offset = some_offset();
    std::uint64_t length = std::min(some_length(), kBytesMax - offset);
    if (any(4) == 0) pins_.clear();
    const BreakOptions policy{.on_pinned = pins_.empty() && any(2) == 0 ? OnPinned::wait : OnPinned::detach};
    const std::uint64_t kind = any(20);
    const std::uint64_t size = some_size(subject);
    log_ << subject.name << " kind " << kind << " offset " << offset << " length " << length << " size " << size
         << (policy.on_pinned == OnPinned::wait ? "\n" : " detach\n");
    File& file = *subject.file;
    if (kind < 4) {
      ASSERT_NO_FATAL_FAILURE(write(subject, offset, length));
    } else if (kind < 9) {
      const Status done = file.truncate(std::min(size, kBytesMax), policy);
      if (!done) return no_space_for_held(done);
      if (size < subject.model.size()) {
        ASSERT_NO_FATAL_FAILURE(nothing_past(file, size));
      }
      subject.model.truncate(std::min(size, kBytesMax));
    } else if (kind < 11) {
      const bool keep = kind == 9;
      const Status done = file.allocate(offset, length, keep ? Allocate::keep_size : Allocate::extend);
      if (!done) return no_space(done);
      if (!keep) subject.model.grow_to(offset + length);
    } else if (kind < 13) {
      const Status done = file.punch(offset, length, policy);
      if (!done) return no_space_for_held(done);
      if (offset < subject.model.size()) subject.model.zero(offset, offset + length);
    } else if (kind < 14) {
      const Status done = file.zero_range(offset, length, policy);
      if (!done) return no_space(done);
      subject.model.zero(offset, offset + length);
      subject.model.grow_to(offset + length);
    } else if (kind < 15) {
      const std::vector<std::byte> from(std::min(length, kBytesMax - file.size()), std::byte{0x77});
      const Result<std::uint64_t> at = file.append(from);
      if (!at) {
        ASSERT_EQ(at.error().code(), ENOSPC);
      } else {
        ASSERT_EQ(*at, subject.model.size());
        subject.model.write(*at, from);
      }
    } else if (kind < 17) {
      if (any(2) == 0 && subject.model.size() > 0) offset = subject.model.size() - 1, length = 1;
      // A device writes up to the end of the last page: what is past the end must never show.
      Result<Pin> pin = file.pin(offset, length, {.access = Access::write});
      if (!pin) {
        const bool past = offset + length > subject.model.size();
        ASSERT_EQ(pin.error().code() == ENXIO, past) << pin.error().message();
        ASSERT_TRUE(past || pin.error().code() == ENOSPC) << pin.error().message();
      } else {
        const Segment& last = pin->segments().back();
        const std::uint64_t tail = (4096 - (last.device_offset + last.length) % 4096) % 4096;
        if (offset + length == subject.model.size()) std::fill_n(last.address + last.length, tail, std::byte{0xDD});
        if (pins_.size() < 6) pins_.push_back(std::move(pin).value());
      }
    } else if (kind < 18) {
      subject.file.reset();
      open(subject);
    } else {
      ASSERT_NO_FATAL_FAILURE(compare(subject, offset, length));
    }
    ASSERT_EQ(file.size(), subject.model.size());
  }

  // A program of `steps`; a second half after a remount, between which e2fsck looks.
  void program(unsigned seed, unsigned steps) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    random_.seed(seed);
    log_.str({});
    std::vector<Subject> subjects;
    for (const char* name : {"/a", "/b"}) subjects.push_back({name + std::to_string(seed), {}, {}});
    for (unsigned half = 0; half < 2; ++half) {
      for (Subject& each : subjects) open(each);
      for (unsigned i = 0; i < steps; ++i) {
        ASSERT_NO_FATAL_FAILURE(step(subjects[any(subjects.size())])) << log_.str();
        ASSERT_EQ(test::broken_invariant(fs().core()), "") << log_.str();
        if (any(8) == 0) {
          for (Subject& each : subjects) ASSERT_NO_FATAL_FAILURE(compare_all(each)) << log_.str();
        }
      }
      for (Subject& each : subjects) {
        ASSERT_NO_FATAL_FAILURE(compare_all(each)) << log_.str();
        each.file.reset();
      }
      pins_.clear();
      remount(true);
      ASSERT_FALSE(HasFailure()) << log_.str();
      for (Subject& each : subjects) {
        open(each);
        ASSERT_NO_FATAL_FAILURE(compare_all(each)) << log_.str();
        each.file.reset();
      }
    }
    for (Subject& each : subjects) fs().unlink(each.name).value();
    fs().sync().value();
    EXPECT_EQ(fs().space().free, all_free_) << log_.str();
  }

  void run(const FormatOptions& format, std::uint64_t bytes, unsigned first_seed, unsigned programs) {
    make_pool(format, bytes);
    all_free_ = fs().space().free;
    // --gtest_shuffle --gtest_random_seed=N gives other programs.
    first_seed += 10000U * static_cast<unsigned>(::testing::UnitTest::GetInstance()->random_seed());
    for (unsigned i = 0; i < programs; ++i) {
      ASSERT_NO_FATAL_FAILURE(program(first_seed + i, 40));
    }
  }

  std::mt19937_64 random_{1};
  std::ostringstream log_;
  std::vector<Pin> pins_;  // while there are some, blocks are detached
  std::uint64_t all_free_ = 0;
  unsigned stamp_ = 0;
};

TEST_F(TruncateModel, Pages) { run({}, 64 * MiB, 100, 8); }
TEST_F(TruncateModel, Clusters) { run({.cluster = 64 * KiB}, 64 * MiB, 1000, 8); }
TEST_F(TruncateModel, LittleSpace) { run({}, 8 * MiB, 2000, 8); }
TEST_F(TruncateModel, LittleSpaceInClusters) { run({.cluster = 16 * KiB}, 8 * MiB, 3000, 8); }

}  // namespace
}  // namespace holdfast
