// Goal: memory that part_from_transfers does not name is out of reach of whoever held it before, and contents that were
// to be kept are. Method: a pipe holds pages (vmsplice), as an unfinished transfer does; what it holds afterwards is
// another page than the device's, or was named.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "device/device.h"
#include "support/carriage.h"
#include "support/hugetlb.h"
#include "support/skip.h"

namespace holdfast::device {
namespace {

using test::Carriage;
using Runs = std::vector<std::pair<std::uint64_t, std::uint64_t>>;  // page, count

constexpr std::uint64_t kSize = 8 * MiB;

class Holder {
 public:
  Holder() { EXPECT_EQ(pipe2(ends_, O_CLOEXEC), 0); }
  ~Holder() {
    close(ends_[0]);
    close(ends_[1]);
  }
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;
  void hold(std::byte* page) {
    const iovec part{page, kPageBytes};
    EXPECT_EQ(vmsplice(ends_[1], &part, 1, 0), static_cast<ssize_t>(kPageBytes));
  }

 private:
  int ends_[2]{-1, -1};
};

class LeftBehind : public ::testing::TestWithParam<Carriage> {
 protected:
  void SetUp() override {
    if (GetParam() == Carriage::hugetlb) {
      huge_pages_.emplace(8U);
      if (!huge_pages_->missing().empty()) HF_SKIP_CAPABILITY("hugetlb", huge_pages_->missing());
    }
    device_ = test::make_device(GetParam(), kSize, scratch_);
  }
  void fill(std::uint64_t page, std::uint64_t count, int value) {
    device_->reserve(Pfn(page), PageCount(count)).value();
    std::fill_n(device_->at(Pfn(page)), count * kPageBytes, static_cast<std::byte>(value));
  }
  Runs held(std::uint64_t page, std::uint64_t count, Contents contents) {
    Runs runs;
    device_->part_from_transfers(Pfn(page), PageCount(count), contents,
                                 [&runs](Pfn first, PageCount run) { runs.emplace_back(first.raw(), run.raw()); });
    return runs;
  }
  bool is_disk() const { return GetParam() == Carriage::disk_file; }
  std::unique_ptr<Device>& device() { return device_; }

 private:
  std::optional<test::HugePages> huge_pages_;
  std::optional<test::ScratchDirectory> scratch_;
  std::unique_ptr<Device> device_;
};

INSTANTIATE_TEST_SUITE_P(Everywhere, LeftBehind,
                         ::testing::Values(Carriage::memory, Carriage::tmpfs_file, Carriage::disk_file,
                                           Carriage::hugetlb),
                         [](const auto& each) { return test::to_string(each.param); });

TEST_P(LeftBehind, NobodyHoldsWhatWasNeverThere) {
  if (GetParam() == Carriage::hugetlb) return;  // nothing can be asked there
  EXPECT_EQ(held(0, kSize / kPageBytes, Contents::kept), Runs());
}

TEST_P(LeftBehind, OtherMemory) {
  fill(0, 1024, 'a');
  Holder holder;
  holder.hold(device()->at(Pfn(7)));
  const Runs left = held(0, 512, Contents::lost);
  if (is_disk()) {  // the page stays, and is named
    ASSERT_EQ(left.size(), 1U);
    EXPECT_LE(left[0].first, 7U);
    EXPECT_GT(left[0].first + left[0].second, 7U);
  } else {
    EXPECT_EQ(left, Runs());
    device()->reserve(Pfn(0), PageCount(512)).value();
    EXPECT_EQ(*device()->at(Pfn(7)), std::byte{0});
  }
  EXPECT_EQ(*device()->at(Pfn(512)), std::byte{'a'}) << "what lies beside it is untouched";
}

TEST_P(LeftBehind, PartsOfLargePages) {
  if (GetParam() != Carriage::hugetlb) return;
  fill(0, 1536, 'a');
  EXPECT_EQ(held(500, 1000, Contents::lost), (Runs{{500, 12}, {1024, 476}}));
  EXPECT_EQ(*device()->at(Pfn(500)), std::byte{'a'});
}

TEST_P(LeftBehind, ContentsThatAreKept) {
  fill(3, 5, 'k');
  const Runs left = held(0, 1024, Contents::kept);
  if (is_disk()) {
    EXPECT_EQ(left, Runs()) << "the page cache let go of all of it";
  } else if (GetParam() != Carriage::hugetlb) {
    ASSERT_EQ(left.size(), 1U);
    EXPECT_LE(left[0].first, 3U);
    EXPECT_GE(left[0].first + left[0].second, 8U);
  }
  for (std::uint64_t page = 3; page < 8; ++page) EXPECT_EQ(*device()->at(Pfn(page)), std::byte{'k'}) << page;
}

TEST_P(LeftBehind, PartOfAUnitThatIsHeld) {
  if (GetParam() != Carriage::memory && GetParam() != Carriage::tmpfs_file) return;
  fill(0, 512, 'u');
  if (const Status made = device()->make_unit(Pfn(0)); !made) {
    HF_SKIP_CAPABILITY(GetParam() == Carriage::memory ? "collapse" : "tmpfs-collapse", made.error().reason());
  }
  Holder holder;
  holder.hold(device()->at(Pfn(3)));
  const Runs left = held(0, 8, Contents::lost);
  const bool named = std::any_of(left.begin(), left.end(),
                                 [](const auto& run) { return run.first <= 3 && 3 < run.first + run.second; });
  EXPECT_TRUE(named) << "a held unit stays, whatever part of it is punched";
}

}  // namespace
}  // namespace holdfast::device
