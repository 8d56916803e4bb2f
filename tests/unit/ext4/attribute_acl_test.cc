// Access control lists survive the way to the medium and back, and nothing malformed passes either way. Method: lists
// written byte by byte, as the system call and the medium have them.
#include "ext4/attribute_acl.h"

#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace holdfast::ext4 {
namespace {

struct Entry {
  std::uint16_t tag;
  std::uint16_t permissions;
  std::uint32_t id = 0xffffffff;
};

template <typename T>
void put(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

std::string call_form(std::uint32_t version, const std::vector<Entry>& entries) {
  std::string bytes;
  put(bytes, version);
  for (const Entry& entry : entries) {
    put(bytes, entry.tag);
    put(bytes, entry.permissions);
    put(bytes, entry.id);
  }
  return bytes;
}

const std::vector<Entry> kFull = {{1, 7}, {2, 6, 1000}, {2, 4, 7}, {4, 5}, {8, 4, 100}, {16, 6}, {32, 0}};

TEST(AttributeAcl, TheMediumHasIdsOnlyForNamedUsersAndGroups) {
  const Result<std::string> stored = acl_to_medium(call_form(2, kFull));
  ASSERT_TRUE(stored) << stored.error().message();
  std::string expected;
  put(expected, std::uint32_t{1});
  for (const Entry& entry : kFull) {
    put(expected, entry.tag);
    put(expected, entry.permissions);
    if (entry.tag == 2 || entry.tag == 8) put(expected, entry.id);
  }
  EXPECT_EQ(*stored, expected);
  EXPECT_EQ(stored->size(), 4u + 4 * 4 + 3 * 8);
}

TEST(AttributeAcl, WhatWasStoredComesBackAsGiven) {
  for (const auto& entries : {kFull, std::vector<Entry>{{1, 7}, {4, 5}, {32, 0}}}) {
    const std::string given = call_form(2, entries);
    const Result<std::string> stored = acl_to_medium(given);
    ASSERT_TRUE(stored);
    const Result<std::string> taken = acl_from_medium(*stored);
    ASSERT_TRUE(taken) << taken.error().message();
    EXPECT_EQ(*taken, given);
  }
}

TEST(AttributeAcl, AListWithoutEntriesIsAnEmptyString) {
  const Result<std::string> stored = acl_to_medium(call_form(2, {}));
  ASSERT_TRUE(stored);
  EXPECT_EQ(*stored, "");
}

TEST(AttributeAcl, MalformedListsAreRefused) {
  const std::vector<std::vector<Entry>> lists = {
      {{1, 7}},                                       // classes missing
      {{1, 7}, {4, 5}},                               // others missing
      {{4, 5}, {1, 7}, {32, 0}},                      // out of order
      {{1, 7}, {1, 7}, {4, 5}, {32, 0}},              // owner twice
      {{1, 8}, {4, 5}, {32, 0}},                      // a right that does not exist
      {{1, 7}, {2, 6, 1000}, {4, 5}, {32, 0}},        // a named user without a mask
      {{1, 7}, {2, 6}, {4, 5}, {16, 7}, {32, 0}},     // a named user without a name
      {{1, 7}, {4, 5}, {64, 1}, {32, 0}},             // an unknown tag
      {{1, 7}, {4, 5}, {2, 6, 5}, {16, 7}, {32, 0}},  // a user after the group
  };
  for (std::size_t i = 0; i < lists.size(); ++i) {
    const Result<std::string> stored = acl_to_medium(call_form(2, lists[i]));
    ASSERT_FALSE(stored) << i;
    EXPECT_EQ(stored.error().code(), EINVAL) << i;
  }
}

TEST(AttributeAcl, OtherVersionsAndCutListsAreRefused) {
  EXPECT_EQ(acl_to_medium(call_form(3, kFull)).error().code(), EOPNOTSUPP);
  EXPECT_EQ(acl_from_medium(call_form(2, kFull)).error().code(), EINVAL);
  const std::string given = call_form(2, kFull);
  const std::string stored = acl_to_medium(given).value();
  for (std::size_t length = 0; length < given.size(); ++length) {
    if (length == 4) continue;  // only the version: a list without entries
    EXPECT_FALSE(acl_to_medium(given.substr(0, length))) << length;
  }
  for (std::size_t length = 0; length < stored.size(); ++length) {
    if (length == 4) continue;
    EXPECT_FALSE(acl_from_medium(stored.substr(0, length))) << length;
  }
}

}  // namespace
}  // namespace holdfast::ext4
