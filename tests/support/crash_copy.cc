#include "support/crash_copy.h"

#include <gtest/gtest.h>

#include <utility>

#include "base/mark.h"
#include "support/ext4_volume.h"

namespace holdfast::test {

CrashCopy::CrashCopy(std::string mark, std::string image, std::string copy, unsigned passing)
    : mark_(std::move(mark)), image_(std::move(image)), copy_(std::move(copy)), left_(passing) {
  mark::set_handler(&CrashCopy::reached, this);
}

CrashCopy::~CrashCopy() { mark::set_handler(nullptr, nullptr); }

void CrashCopy::reached(void* context, const char* name) {
  auto& self = *static_cast<CrashCopy*>(context);
  if (self.mark_ != name || self.left_.fetch_sub(1) != 1) return;
  copy_image(self.image_, self.copy_);
  self.taken_.store(true);
}

void copy_image(const std::string& from, const std::string& to) {
  const ProgramEnd end = run_program("cp --sparse=always '" + from + "' '" + to + "'");
  EXPECT_EQ(end.status, 0) << end.output;
}

}  // namespace holdfast::test
