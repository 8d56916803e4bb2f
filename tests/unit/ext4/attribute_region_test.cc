// Regions of attributes: what is written is read back, libext2fs computes the same hashes, and no byte pattern makes
// the parser read outside. Method: seeded random lists in both homes; every region cut and overwritten at random.
#include "ext4/attribute_region.h"

#include <algorithm>
#include <cstring>
#include <random>

#include <gtest/gtest.h>

extern "C" {
#include <ext2fs/ext2_ext_attr.h>
#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>
}

namespace holdfast::ext4 {
namespace {

constexpr AttributeRegion kBlock{AttributeHome::block, 32, 4096};
constexpr AttributeRegion kInode{AttributeHome::inode, 0, 92};

AttributeList random_list(std::mt19937& random, std::size_t room) {
  AttributeList list;
  const auto below = [&random](unsigned n) { return std::uniform_int_distribution<unsigned>(0, n - 1)(random); };
  for (unsigned i = 0; i < 12; ++i) {
    StoredAttribute attribute;
    attribute.prefix = static_cast<std::uint8_t>(1 + below(7));
    for (unsigned n = 1 + below(20); n > 0; --n) attribute.rest.push_back(static_cast<char>(1 + below(255)));
    for (unsigned n = below(3) == 0 ? 0 : below(400); n > 0; --n) {
      attribute.value.push_back(static_cast<char>(below(256)));
    }
    list.push_back(attribute);
    if (bytes_needed(list) > room) list.pop_back();
  }
  return list;
}

void expect_equal(const AttributeList& a, const AttributeList& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].prefix, b[i].prefix);
    EXPECT_EQ(a[i].rest, b[i].rest);
    EXPECT_EQ(a[i].value, b[i].value);
  }
}

TEST(AttributeRegion, WhatIsWrittenIsReadBack) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    for (const AttributeRegion& region : {kBlock, kInode}) {
      AttributeList list = random_list(random, region.room());
      std::sort(list.begin(), list.end(), attribute_before);
      std::vector<std::byte> bytes(region.bytes, std::byte{0xee});
      write_attributes(bytes, region, list);
      AttributeList found;
      EXPECT_EQ(parse_attributes(bytes, region, found), "");
      expect_equal(list, found);
      EXPECT_TRUE(region.first_entry == 0 || bytes[0] == std::byte{0xee}) << "the header is not the region's to write";
    }
  }
}

TEST(AttributeRegion, HashesAreThoseOfTheLibrary) {
  std::mt19937 random(2);
  for (int round = 0; round < 100; ++round) {
    AttributeList list = random_list(random, kBlock.room());
    std::sort(list.begin(), list.end(), attribute_before);
    alignas(8) std::array<std::byte, 4096> bytes{};
    const std::uint32_t all = write_attributes(bytes, kBlock, list);
    auto* const entries = reinterpret_cast<ext2_ext_attr_entry*>(bytes.data() + 32);
    for (auto* entry = entries; *reinterpret_cast<std::uint32_t*>(entry) != 0;
         entry = reinterpret_cast<ext2_ext_attr_entry*>(reinterpret_cast<std::byte*>(entry) +
                                                        ((entry->e_name_len + 16u + 3u) & ~3u))) {
      EXPECT_EQ(entry->e_hash, ext2fs_ext_attr_hash_entry(entry, bytes.data() + entry->e_value_offs));
    }
    auto* const header = reinterpret_cast<ext2_ext_attr_header*>(bytes.data());
    ext2fs_ext_attr_block_rehash(header, reinterpret_cast<ext2_ext_attr_entry*>(bytes.data() + bytes.size()));
    EXPECT_EQ(all, header->h_hash);
  }
}

TEST(AttributeRegion, TheLastByteThatFitsFits) {
  AttributeList list(1);
  list[0].prefix = 1;
  list[0].rest = "abc";
  list[0].value.assign(kInode.room() - 4 - 20, 'v');  // end mark, entry with its name
  EXPECT_EQ(bytes_needed(list), kInode.room());
  std::vector<std::byte> bytes(kInode.bytes);
  write_attributes(bytes, kInode, list);
  AttributeList found;
  EXPECT_EQ(parse_attributes(bytes, kInode, found), "");
  expect_equal(list, found);
}

TEST(AttributeRegion, NoPatternIsReadOutside) {
  std::mt19937 random(3);
  unsigned refused = 0;
  for (int round = 0; round < 4000; ++round) {
    const AttributeRegion region = round % 2 == 0 ? kBlock : kInode;
    AttributeList list = random_list(random, region.room());
    std::vector<std::byte> bytes(region.bytes);
    write_attributes(bytes, region, list);
    for (unsigned n = 1 + random() % 8; n > 0; --n) {
      // Mostly where the entries are.
      const std::size_t reach = random() % 2 == 0 ? region.bytes : std::min<std::size_t>(region.bytes, 128);
      bytes[random() % reach] = static_cast<std::byte>(random() & 0xff);
    }
    // A copy of exactly this size lets the address sanitizer see a read outside.
    const std::vector<std::byte> exact(bytes);
    AttributeList found;
    const std::string complaint = parse_attributes(exact, region, found);
    if (!complaint.empty()) {
      ++refused;
      EXPECT_TRUE(found.empty());
    }
    for (const StoredAttribute& attribute : found) EXPECT_LE(attribute.value.size(), region.bytes);
  }
  EXPECT_GT(refused, 500u);
}

}  // namespace
}  // namespace holdfast::ext4
