// Goal: what people type and read means what it means elsewhere: sizes, modes, owners, paths, lines on a terminal.
// Method: tables of texts and what they stand for, with the garbage that must be refused.
#include <gtest/gtest.h>
#include <unistd.h>

#include <limits>

#include "cli/command.h"
#include "cli/io.h"
#include "cli/mode.h"
#include "cli/owner.h"
#include "cli/path.h"
#include "cli/show.h"
#include "cli/size.h"

namespace holdfast::cli {
namespace {

TEST(Size, TakesPowersOf1024) {
  EXPECT_EQ(parse_size("0"), 0U);
  EXPECT_EQ(parse_size("4096"), 4096U);
  EXPECT_EQ(parse_size("4K"), 4096U);
  EXPECT_EQ(parse_size("4k"), 4096U);
  EXPECT_EQ(parse_size("2MiB"), 2U << 20U);
  EXPECT_EQ(parse_size("1G"), 1U << 30U);
  EXPECT_EQ(parse_size("3T"), 3ULL << 40U);
  EXPECT_EQ(parse_size("9223372036854775807"), 9223372036854775807ULL);
}

TEST(Size, RefusesGarbageAndOverflow) {
  for (const char* text : {"", "K", "-1", "+1", " 1", "1 ", "1.5G", "0x10", "1KB", "1KK", "1P", "9223372036854775808",
                           "18446744073709551616", "8388608T", "9007199254740992K", "1i", "1iB"}) {
    EXPECT_EQ(parse_size(text), std::nullopt) << text;
  }
  EXPECT_EQ(parse_size("8388607T"), 8388607ULL << 40U);
}

TEST(Size, ShownRoundedUp) {
  EXPECT_EQ(human_size(0), "0");
  EXPECT_EQ(human_size(1023), "1023");
  EXPECT_EQ(human_size(1024), "1.0K");
  EXPECT_EQ(human_size(1025), "1.1K");
  EXPECT_EQ(human_size(10239), "10K");
  EXPECT_EQ(human_size(10 * 1024), "10K");
  EXPECT_EQ(human_size(1023 * 1024 + 1), "1.0M");
  EXPECT_EQ(human_size(1536ULL << 20U), "1.5G");
  EXPECT_EQ(human_size(std::numeric_limits<std::uint64_t>::max()), "16E");
}

std::uint32_t changed(const char* text, std::uint32_t permissions, bool directory = false, std::uint32_t mask = 022) {
  const std::optional<ModeChange> change = ModeChange::parse(text);
  EXPECT_TRUE(change.has_value()) << text;
  return change ? change->apply(permissions, directory, mask) : 0xFFFF;
}

TEST(Mode, Octal) {
  EXPECT_EQ(changed("755", 0600), 0755U);
  EXPECT_EQ(changed("0", 07777), 0U);
  EXPECT_EQ(changed("4711", 0600), 04711U);
  EXPECT_EQ(changed("+111", 0644), 0755U);
  EXPECT_EQ(changed("-222", 0666), 0444U);
  // A directory keeps its set-id bits unless they are named.
  EXPECT_EQ(changed("755", 02700, true), 02755U);
  EXPECT_EQ(changed("00755", 02700, true), 0755U);
  EXPECT_EQ(changed("755", 02700, false), 0755U);
}

TEST(Mode, Symbolic) {
  EXPECT_EQ(changed("u+x", 0644), 0744U);
  EXPECT_EQ(changed("u+x,g-r", 0644), 0704U);
  EXPECT_EQ(changed("go=", 0777), 0700U);
  EXPECT_EQ(changed("a=rX", 0600), 0444U);
  EXPECT_EQ(changed("a=rX", 0700), 0555U);
  EXPECT_EQ(changed("a=rX", 0600, true), 0555U);
  EXPECT_EQ(changed("g=u", 0741), 0771U);
  EXPECT_EQ(changed("o=g", 0750), 0755U);
  EXPECT_EQ(changed("u+s", 0755), 04755U);
  EXPECT_EQ(changed("g+s", 0755), 02755U);
  EXPECT_EQ(changed("+t", 0755), 01755U);
  EXPECT_EQ(changed("u+t", 0755), 0755U);
  EXPECT_EQ(changed("u+r-w", 0200), 0400U);
  EXPECT_EQ(changed("ug+rw,o-rwx", 0007), 0660U);
  // Nobody named: as far as the umask lets it.
  EXPECT_EQ(changed("+w", 0444), 0644U);
  EXPECT_EQ(changed("-w", 0666), 0466U);
  EXPECT_EQ(changed("+x", 0644, false, 077), 0744U);
  EXPECT_EQ(changed("u=rwx", 02700, true), 02700U);
  EXPECT_EQ(changed("g=rx", 02770, true), 02750U);
  EXPECT_EQ(changed("g-s", 02770, true), 0770U);
}

TEST(Mode, RefusesGarbage) {
  for (const char* text : {"", "8", "77777", "u", "x", "u+q", "u+x,", ",u+x", "u+x g+x", "rwx", "+9", "z+x"}) {
    EXPECT_FALSE(ModeChange::parse(text).has_value()) << text;
  }
}

TEST(Mode, Shown) {
  EXPECT_EQ(mode_text(FileKind::regular, 0644), "-rw-r--r--");
  EXPECT_EQ(mode_text(FileKind::directory, 01777), "drwxrwxrwt");
  EXPECT_EQ(mode_text(FileKind::regular, 06755), "-rwsr-sr-x");
  EXPECT_EQ(mode_text(FileKind::regular, 07000), "---S--S--T");
  EXPECT_EQ(mode_text(FileKind::symlink, 0777), "lrwxrwxrwx");
  EXPECT_EQ(mode_text(FileKind::character_device, 0600), "crw-------");
  EXPECT_EQ(mode_text(FileKind::block_device, 0600), "brw-------");
  EXPECT_EQ(mode_text(FileKind::fifo, 0600), "prw-------");
  EXPECT_EQ(mode_text(FileKind::socket, 0600), "srw-------");
}

TEST(Owner, NumbersAndNames) {
  EXPECT_EQ(parse_owner("12345").uid, 12345U);
  EXPECT_EQ(parse_owner("12345").gid, std::nullopt);
  EXPECT_EQ(parse_owner("1:2").uid, 1U);
  EXPECT_EQ(parse_owner("1:2").gid, 2U);
  EXPECT_EQ(parse_owner(":7").uid, std::nullopt);
  EXPECT_EQ(parse_owner(":7").gid, 7U);
  EXPECT_EQ(parse_owner("root").uid, 0U);
  EXPECT_EQ(parse_owner("root:").gid, 0U);
  EXPECT_EQ(user_name(0), "root");
  EXPECT_EQ(user_name(4000000001U), "4000000001");
}

TEST(Owner, RefusesTheUnknown) {
  for (const char* text : {"no-such-user-here", "1:no-such-group-here", "4294967295", "4294967296", "-1", "12345:"}) {
    EXPECT_THROW(parse_owner(text), UsageError) << text;
  }
}

TEST(Path, Parts) {
  EXPECT_EQ(join("/", "a"), "/a");
  EXPECT_EQ(join("/a", "b"), "/a/b");
  EXPECT_EQ(join("/a/", "b"), "/a/b");
  EXPECT_EQ(last_name("/a/b"), "b");
  EXPECT_EQ(last_name("/a/b//"), "b");
  EXPECT_EQ(last_name("/"), "/");
  EXPECT_EQ(last_name("//"), "/");
  EXPECT_EQ(last_name("b"), "b");
  EXPECT_EQ(parent_of("/a/b"), "/a");
  EXPECT_EQ(parent_of("/a/b/"), "/a");
  EXPECT_EQ(parent_of("/a"), "/");
  EXPECT_EQ(parent_of("/"), "/");
  EXPECT_EQ(parent_of("a"), ".");
  EXPECT_TRUE(ends_in_dots("/a/.."));
  EXPECT_TRUE(ends_in_dots("."));
  EXPECT_FALSE(ends_in_dots("/a/..b"));
  EXPECT_THROW(require_absolute("a"), UsageError);
  EXPECT_NO_THROW(require_absolute("/a"));
}

TEST(OneLine, HidesWhatATerminalObeys) {
  EXPECT_EQ(one_line("plain text, ümläut ☃ 𝄞"), "plain text, ümläut ☃ 𝄞");
  EXPECT_EQ(one_line("a\nb\tc\x1b[31m\x7f"), "a\\012b\\011c\\033[31m\\177");
  EXPECT_EQ(one_line("\xff\xc3"), "\\377\\303");
  EXPECT_EQ(one_line("\xc2\x9b"), "\\302\\233");                    // a control character of two bytes
  EXPECT_EQ(one_line("\xe0\x80\xaf"), "\\340\\200\\257");           // overlong
  EXPECT_EQ(one_line("\xed\xa0\x80"), "\\355\\240\\200");           // a surrogate
  EXPECT_EQ(one_line("\xf4\x90\x80\x80"), "\\364\\220\\200\\200");  // beyond Unicode
}

TEST(Time, FarAndNear) {
  setenv("TZ", "UTC", 1);
  tzset();
  EXPECT_EQ(full_time({1'600'000'000, 7}), "2020-09-13 12:26:40.000000007 +0000");
  EXPECT_EQ(json_time({-1, 999'999'999}), "1969-12-31T23:59:59.999999999Z");
  EXPECT_EQ(short_time({1'600'000'000, 0}, 1'600'000'100), "Sep 13 12:26");
  EXPECT_EQ(short_time({1'600'000'000, 0}, 1'700'000'000), "Sep 13  2020");
  EXPECT_EQ(short_time({1'600'000'000, 0}, 1'500'000'000), "Sep 13  2020");
  // No calendar has this year: a number, and no crash.
  EXPECT_NE(full_time({std::numeric_limits<std::int64_t>::max(), 0}), "");
}

}  // namespace
}  // namespace holdfast::cli
