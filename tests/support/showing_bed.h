// Windows on every carrier, served in every way: for tests with kEveryShowing as their parameter.
#pragma once

#include <gtest/gtest.h>

#include <optional>

#include "support/hugetlb.h"
#include "support/skip.h"
#include "support/window_bed.h"

namespace holdfast::test {

class ShowingBed : public WindowBed, public ::testing::WithParamInterface<Showing> {
 protected:
  void SetUp() override {
    serve_faults(GetParam().faults);
    if (carriage() == Carriage::hugetlb) {
      huge_pages_.emplace(48U);
      if (!huge_pages_->missing().empty()) HF_SKIP_CAPABILITY("hugetlb", huge_pages_->missing());
      open_pool(carriage(), 96 * MiB);
    } else {
      open_pool(carriage());
    }
  }
  Carriage carriage() const { return GetParam().carriage; }

 private:
  std::optional<HugePages> huge_pages_;
};

}  // namespace holdfast::test
