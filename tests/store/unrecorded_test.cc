// Goal: bytes that were written, and of which the format has not been told yet, outlive an operation on their file that
// fails. Method: a removal that is made to fail at its first step, and then reads, before and after a remount.
#include <gtest/gtest.h>

#include <cerrno>
#include <vector>

#include "base/fault_point.h"
#include "support/pool_fixture.h"

namespace holdfast {
namespace {

using test::bytes;
using test::code_of;

class Unrecorded : public test::PoolTest {
 protected:
  bool holds(const std::vector<std::byte>& wanted) {
    File file = fs().open("/file", Open::read).value();
    std::vector<std::byte> found(wanted.size() + 1);
    if (file.read(0, found).value() != wanted.size()) return false;
    found.resize(wanted.size());
    return found == wanted;
  }
};

TEST_F(Unrecorded, BytesAreStillThereAfterARemovalThatFailed) {
  for (const bool truncates : {false, true}) {
    SCOPED_TRACE(truncates ? "truncate" : "punch");
    const std::vector<std::byte> wanted = bytes(100'000, truncates ? 't' : 'p');
    {
      File file = make_file("/file");
      ASSERT_EQ(file.write(0, wanted).value(), wanted.size());
      fault_point::arm("removal.step", 1);
      EXPECT_EQ(code_of(truncates ? file.truncate(5000) : file.punch(8192, 40960)), EIO);
      fault_point::disarm_all();
      EXPECT_TRUE(holds(wanted));
    }
    remount(true);
    EXPECT_TRUE(holds(wanted));
  }
}

}  // namespace
}  // namespace holdfast
