// Attribute names become prefixes and rests and come back; names that cannot be are refused. Method: a table.
#include "ext4/attribute_name.h"

#include <cerrno>
#include <string>

#include <gtest/gtest.h>

namespace holdfast::ext4 {
namespace {

TEST(AttributeName, EveryPrefixHasItsNumber) {
  const struct {
    const char* name;
    int prefix;
    const char* rest;
  } cases[] = {
      {"user.a", 1, "a"},
      {"system.posix_acl_access", 2, ""},
      {"system.posix_acl_default", 3, ""},
      {"trusted.b.c", 4, "b.c"},
      {"security.selinux", 6, "selinux"},
      {"system.posix_acl_access2", 7, "posix_acl_access2"},
      {"user.user.x", 1, "user.x"},
  };
  for (const auto& c : cases) {
    const Result<AttributeName> parsed = parse_attribute_name(c.name);
    ASSERT_TRUE(parsed) << c.name;
    EXPECT_EQ(static_cast<int>(parsed->prefix), c.prefix) << c.name;
    EXPECT_EQ(parsed->rest, c.rest) << c.name;
    EXPECT_EQ(attribute_full_name(static_cast<std::uint8_t>(c.prefix), c.rest), c.name);
  }
}

TEST(AttributeName, BadNamesAreRefused) {
  EXPECT_EQ(parse_attribute_name("").error().code(), EOPNOTSUPP);
  EXPECT_EQ(parse_attribute_name("user").error().code(), EOPNOTSUPP);
  EXPECT_EQ(parse_attribute_name("other.a").error().code(), EOPNOTSUPP);
  EXPECT_EQ(parse_attribute_name("user.").error().code(), EINVAL);
  EXPECT_EQ(parse_attribute_name(std::string("user.a\0b", 8)).error().code(), EINVAL);
  EXPECT_TRUE(parse_attribute_name("user." + std::string(250, 'x')));
  EXPECT_EQ(parse_attribute_name("user." + std::string(251, 'x')).error().code(), ERANGE);
  EXPECT_FALSE(attribute_full_name(5, "x"));
}

}  // namespace
}  // namespace holdfast::ext4
