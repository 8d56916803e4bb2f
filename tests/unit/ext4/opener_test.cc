// Goal: the superblock's record of who has the volume comes back as it was written, fits, and is nobody where another
// program wrote there.
#include "ext4/opener.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>

namespace holdfast::ext4 {
namespace {

std::string text_of(const ext2_super_block& super) {
  const auto* text = reinterpret_cast<const char*>(super.s_last_mounted);
  return {text, strnlen(text, sizeof(super.s_last_mounted))};
}

TEST(OpenerRecord, ComesBack) {
  ext2_super_block super{};
  EXPECT_FALSE(opener_of(super));
  const std::string boot = "00112233-4455-6677-8899-aabbccddeeff";
  for (const bool suspects : {false, true}) {
    set_opener(super, Opener{boot, 4194304, suspects});
    EXPECT_LT(text_of(super).size(), sizeof(super.s_last_mounted)) << "e2fsck prints it as a string";
    const std::optional<Opener> found = opener_of(super);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->boot, boot);
    EXPECT_EQ(found->pid, 4194304U);
    EXPECT_EQ(found->left_suspects, suspects);
  }
  set_opener(super, std::nullopt);
  EXPECT_EQ(text_of(super), "");
  EXPECT_FALSE(opener_of(super));
}

TEST(OpenerRecord, IsThisProcess) {
  const Opener mine = this_opener();
  EXPECT_EQ(mine.pid, static_cast<std::uint32_t>(getpid()));
  EXPECT_EQ(mine.boot, this_opener().boot);
  EXPECT_FALSE(mine.left_suspects);
}

TEST(OpenerRecord, OthersAreNobody) {
  for (const char* const text : {"/mnt/pool", "holdfast", "holdfast boot", "holdfast boot pid", "other boot 12"}) {
    ext2_super_block super{};
    std::memcpy(super.s_last_mounted, text, std::strlen(text));
    EXPECT_FALSE(opener_of(super)) << text;
  }
}

}  // namespace
}  // namespace holdfast::ext4
