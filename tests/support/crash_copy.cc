#include "support/crash_copy.h"

#include <gtest/gtest.h>

#include <deque>
#include <utility>

#include "base/mark.h"
#include "support/ext4_volume.h"

namespace holdfast::test {

CrashCopy::CrashCopy(std::string mark, std::string image, std::string copy, unsigned passing)
    : wanted_([&]() -> Wanted& {
        static std::deque<Wanted> all;  // tests make them one after the other
        return all.emplace_back(std::move(mark), std::move(image), std::move(copy), passing);
      }()) {
  mark::set_handler(&CrashCopy::reached, &wanted_);
}

CrashCopy::~CrashCopy() { mark::set_handler(nullptr, nullptr); }

void CrashCopy::reached(void* context, const char* name) {
  auto& wanted = *static_cast<Wanted*>(context);
  if (wanted.mark != name || wanted.left.fetch_sub(1) != 1) return;
  copy_image(wanted.image, wanted.copy);
  wanted.taken.store(true);
}

void copy_image(const std::string& from, const std::string& to) {
  const ProgramEnd end = run_program("cp --sparse=always '" + from + "' '" + to + "'");
  EXPECT_EQ(end.status, 0) << end.output;
}

}  // namespace holdfast::test
