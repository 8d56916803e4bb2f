// One device's page descriptors and one file's mapping on them, for tests of the layers above pagemap.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/epoch.h"
#include "base/fault_point.h"
#include "mapping/hold.h"
#include "mapping/mapping.h"
#include "pagemap/pagemap.h"
#include "pagemap/pin_table.h"

namespace holdfast::test {

// Remembers which units lost their last reference by an unpin.
class RecordingOwner final : public pagemap::PageOwner {
 public:
  void last_put(Pfn first, Order order) noexcept override {
    const std::lock_guard lock(mutex_);
    puts_.emplace_back(first, order);
  }
  std::vector<std::pair<Pfn, Order>> puts() const {
    const std::lock_guard lock(mutex_);
    return puts_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::pair<Pfn, Order>> puts_;
};

// A pin with an identity, taken and released by the rules of pagemap/pin_table.h.
class IdentifiedPin {
 public:
  IdentifiedPin(mapping::Mapping& file, PageIndex index, const char* purpose, bool released_elsewhere = false)
      : pages_(file.pages()) {
    pagemap::PinIdentity identity;
    identity.file = file.file();
    identity.offset = index.bytes();
    identity.length = kPageBytes;
    identity.purpose = purpose;
    identity.released_elsewhere = released_elsewhere;
    const epoch::Guard guard;
    slot_ = pagemap::take_slot(identity);
    outcome_ = file.try_pin_unit(index, run_).outcome;
    if (taken()) {
      pagemap::confirm_slot(slot_);
    } else {
      pagemap::release_slot(slot_);
    }
  }
  ~IdentifiedPin() { release(); }
  IdentifiedPin(const IdentifiedPin&) = delete;
  IdentifiedPin& operator=(const IdentifiedPin&) = delete;

  bool taken() const { return outcome_ == mapping::Mapping::PinOutcome::pinned; }
  void release() {
    if (!taken()) return;
    const epoch::Guard guard;
    pagemap::release_slot(slot_);
    mapping::unpin(pages_, run_);
    outcome_ = mapping::Mapping::PinOutcome::absent;
  }

 private:
  pagemap::PageMap& pages_;
  mapping::PinnedRun run_;
  pagemap::PinSlot* slot_ = nullptr;
  mapping::Mapping::PinOutcome outcome_ = mapping::Mapping::PinOutcome::absent;
};

// A file on a device of 3 GiB. Invariants are checked, and all references must be back, when the test ends.
class FileFixture : public ::testing::Test {
 protected:
  using Mapping = mapping::Mapping;
  using PinOutcome = Mapping::PinOutcome;
  using InsertOutcome = Mapping::InsertOutcome;

  static constexpr PageCount kPages{std::uint64_t{3} << 18};
  static constexpr PageRange kWhole{PageIndex(0), kEndOfFile};
  static constexpr PageRange pages_at(std::uint64_t first, std::uint64_t count = 1) {
    return {PageIndex(first), PageIndex(first + count)};
  }

  FileFixture() { file_ = std::make_unique<Mapping>(*map_, owner_, pagemap::FileKey{7, 12}); }
  ~FileFixture() override {
    fault_point::disarm_all();
    if (file_) {
      EXPECT_EQ(file_->check().value_or(""), "");
      static_cast<void>(file_->zap(kWhole));
      file_->remove(kWhole);
      EXPECT_EQ(file_->entry_pages(), PageCount(0));
      file_.reset();
    }
    EXPECT_EQ(map_->references(), 0U) << "a page is still in use";
    epoch::flush();
  }

  // The page of an index in most tests: far from the index itself, and aligned with it for every order.
  static constexpr Pfn page_of(std::uint64_t index) { return Pfn(index + (std::uint64_t{1} << 18)); }

  InsertOutcome insert(std::uint64_t index, Order order = kOrder4K) { return insert(index, page_of(index), order); }
  InsertOutcome insert(std::uint64_t index, Pfn pfn, Order order) {
    const auto hold = mapping::Hold::enter(*file_, {PageIndex(index), PageIndex(index) + order.pages()}, Deadline());
    return file_->insert(PageIndex(index), pfn, order, Deadline()).value();
  }
  void insert_pages(std::uint64_t first, std::uint64_t count) {
    for (std::uint64_t i = first; i < first + count; ++i) ASSERT_EQ(insert(i), InsertOutcome::inserted);
  }
  PinOutcome pin(std::uint64_t index, mapping::PinnedRun& run) {
    const epoch::Guard guard;
    return file_->try_pin_unit(PageIndex(index), run).outcome;
  }
  mapping::PinnedRun pinned(std::uint64_t index) {
    mapping::PinnedRun run;
    EXPECT_EQ(pin(index, run), PinOutcome::pinned);
    return run;
  }
  void unpin(const mapping::PinnedRun& run) { mapping::unpin(*map_, run); }
  std::uint32_t pins(std::uint64_t index, Order order = kOrder4K) {
    return map_->read(page_of(index).align_down(order), order).pins();
  }
  mapping::Entry lookup(std::uint64_t index) { return file_->lookup(PageIndex(index)); }
  std::string broken() { return file_->check().value_or(""); }

  RecordingOwner owner_;
  std::unique_ptr<pagemap::PageMap> map_ = pagemap::PageMap::create(kPages, nullptr).value();
  std::unique_ptr<Mapping> file_;
};

}  // namespace holdfast::test
