// Goal: the records of one block stay whole under every change, and no damage passes. Method: random changes against a
// map, blocks with one damage each, and random bytes.
#include "ext4/dir_block.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace holdfast::ext4 {
namespace {

constexpr std::uint32_t kInodes = 1000;
using Block = std::array<std::byte, 4096>;

std::map<std::string, std::uint32_t> names_in(const Block& block, const BlockShape& shape) {
  std::map<std::string, std::uint32_t> names;
  std::uint32_t at = 0;
  const char* const damage = for_each_record(block.data(), shape, at, [&](const Record& record) {
    names.emplace(record.name, record.header.inode);
    return true;
  });
  EXPECT_EQ(damage, nullptr) << damage << " at " << at;
  return names;
}

class DirBlock : public testing::TestWithParam<bool> {
 protected:
  const BlockShape shape_ = BlockShape::make(kInodes, GetParam(), true);
  Block block_{};
};

TEST_P(DirBlock, ChangesAgreeWithAMap) {
  std::mt19937 random(77);
  make_empty(block_.data(), shape_);
  std::map<std::string, std::uint32_t> model;
  unsigned refused = 0;
  for (int round = 0; round < 20000; ++round) {
    // Few short names, so that they meet again; some long ones, so that the block becomes full.
    std::string name(1 + random() % (random() % 8 == 0 ? 255 : 9), 'n');
    name.back() = static_cast<char>('a' + random() % 6);
    const std::uint32_t need = record_bytes(name.size());
    const Search result = search(block_.data(), shape_, name, need);
    ASSERT_EQ(result.damage, nullptr);
    ASSERT_EQ(result.found != kNoRecord, model.count(name) == 1) << name;
    if (result.found != kNoRecord && random() % 4 != 0) {
      erase(block_.data(), result.found, result.before);
      model.erase(name);
    } else if (result.found == kNoRecord && result.room != kNoRecord) {
      const auto inode = static_cast<std::uint32_t>(1 + random() % kInodes);
      insert(block_.data(), result.room, {name, inode, 1});
      model[name] = inode;
    } else if (result.found == kNoRecord) {
      ++refused;
    }
    if (round % 16 == 0) {
      ASSERT_EQ(names_in(block_, shape_), model);
    }
  }
  EXPECT_GT(refused, 100u) << "the block never became full";
  // Everything taken out again leaves one piece of room.
  for (const auto& [name, inode] : model) {
    const Search result = search(block_.data(), shape_, name);
    ASSERT_NE(result.found, kNoRecord);
    erase(block_.data(), result.found, result.before);
  }
  EXPECT_EQ(header_at(block_.data(), 0).inode, 0u);
  EXPECT_NE(search(block_.data(), shape_, "x", shape_.end - kRecordBytesMin).room, kNoRecord);
}

TEST_P(DirBlock, WriterPacksRecordsAndGivesTheRestToTheLast) {
  block_.fill(std::byte{0xee});
  BlockWriter writer(block_.data(), shape_);
  std::map<std::string, std::uint32_t> model;
  for (std::uint32_t inode = 1; writer.fits(4); ++inode) {
    const std::string name = std::to_string(1000 + inode);
    writer.add({name, inode, 1});
    model[name] = inode;
  }
  writer.finish();
  EXPECT_EQ(model.size(), shape_.end / 12);
  EXPECT_EQ(names_in(block_, shape_), model);
}

TEST_P(DirBlock, ErasedNamesLeaveNoBytes) {
  make_empty(block_.data(), shape_);
  insert(block_.data(), 0, {"first-secret", 5, 1});
  insert(block_.data(), search(block_.data(), shape_, "?", 20).room, {"second-secret", 6, 1});
  for (const std::string name : {"second-secret", "first-secret"}) {
    const Search result = search(block_.data(), shape_, name);
    erase(block_.data(), result.found, result.before);
  }
  const std::string bytes(reinterpret_cast<const char*>(block_.data()), block_.size());
  EXPECT_EQ(bytes.find("secret"), std::string::npos);
}

void set_header(Block& block, std::uint32_t at, const RecordHeader& header) {
  std::memcpy(block.data() + at, &header, sizeof header);
}

struct Damage {
  const char* what;
  std::function<void(Block&)> make;
};

TEST_P(DirBlock, DamageIsFound) {
  // Records of "name-0" to "name-9", 16 bytes each.
  const std::vector<Damage> table{
      {"a record of no length",
       [](Block& b) {
         set_header(b, 16, {2, 0, 6, 1});
       }},
      {"a record of 8 bytes",
       [](Block& b) {
         set_header(b, 16, {0, 8, 0, 0});
       }},
      {"a length that is no multiple of 4",
       [](Block& b) {
         set_header(b, 16, {2, 18, 6, 1});
       }},
      {"a record past the end",
       [](Block& b) {
         set_header(b, 16, {2, 4092, 6, 1});
       }},
      {"the longest length",
       [](Block& b) {
         set_header(b, 16, {2, 65532, 6, 1});
       }},
      {"a name longer than its record",
       [](Block& b) {
         set_header(b, 16, {2, 16, 9, 1});
       }},
      {"an inode out of range",
       [](Block& b) {
         set_header(b, 16, {kInodes + 1, 16, 6, 1});
       }},
      {"an empty name",
       [](Block& b) {
         set_header(b, 16, {2, 16, 0, 1});
       }},
      {"4 bytes at the end",
       [this](Block& b) {
         set_header(b, 144, {2, static_cast<std::uint16_t>(shape_.end - 144 - 4), 6, 1});
       }},
      {"8 bytes at the end",
       [this](Block& b) {
         set_header(b, 144, {2, static_cast<std::uint16_t>(shape_.end - 144 - 8), 6, 1});
       }},
  };
  for (const Damage& damage : table) {
    BlockWriter writer(block_.data(), shape_);
    for (char digit = '0'; digit <= '9'; ++digit) writer.add({std::string("name-") + digit, 1, 1});
    writer.finish();
    ASSERT_EQ(search(block_.data(), shape_, "name-x").damage, nullptr);
    damage.make(block_);
    EXPECT_NE(search(block_.data(), shape_, "name-x").damage, nullptr) << damage.what;
    std::uint32_t at = 0;
    EXPECT_NE(for_each_record(block_.data(), shape_, at, [](const Record&) { return true; }), nullptr) << damage.what;
    EXPECT_GE(at, 16u) << damage.what;
    // What is in front of the damage can still be found.
    EXPECT_EQ(search(block_.data(), shape_, "name-0").found, 0u) << damage.what;
  }
}

TEST_P(DirBlock, RandomBytesNeverLeadOutOfTheBlock) {
  std::mt19937 random(5);
  for (int round = 0; round < 3000; ++round) {
    // Chains of lengths that are mostly right, so that walks come far.
    for (std::byte& byte : block_) byte = static_cast<std::byte>(random());
    for (std::uint32_t at = 0; at + 12 <= block_.size();) {
      const auto bytes = static_cast<std::uint16_t>(12 + random() % 64 * (random() % 50 == 0 ? 1 : 4));
      set_header(
          block_, at,
          {static_cast<std::uint32_t>(random() % (kInodes + 2)), bytes, static_cast<std::uint8_t>(random() % 10), 1});
      at += (bytes + 3u) & ~3u;
    }
    if (random() % 2 == 0 && shape_.has_tail) set_header(block_, shape_.end, {0, 12, 0, 0xde});
    const std::string name(1 + random() % 255, 'a');
    const Search result = search(block_.data(), shape_, name, 24);
    if (result.damage == nullptr && result.room != kNoRecord) {
      EXPECT_LE(result.room + 24, shape_.end);
      insert(block_.data(), result.room, {"0123456789abcdef", 1, 1});
      EXPECT_NE(search(block_.data(), shape_, "0123456789abcdef").found, kNoRecord);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Checksums, DirBlock, testing::Bool(),
                         [](const auto& shape) { return shape.param ? "with_tail" : "without_tail"; });

TEST(DirBlockTail, MustBeThere) {
  const BlockShape shape = BlockShape::make(kInodes, true, true);
  Block block{};
  make_empty(block.data(), shape);
  EXPECT_EQ(tail_damage(block.data(), shape), nullptr);
  block[shape.end + 4] = std::byte{16};
  EXPECT_NE(search(block.data(), shape, "a").damage, nullptr);
}

TEST(DirBlockTypes, WithoutThemTheByteBelongsToTheLength) {
  const BlockShape shape = BlockShape::make(kInodes, false, false);
  Block block{};
  make_empty(block.data(), shape);
  insert(block.data(), 0, {"a", 1, 0});
  EXPECT_EQ(search(block.data(), shape, "a").found, 0u);
  block[7] = std::byte{1};
  EXPECT_NE(search(block.data(), shape, "a").damage, nullptr);
}

}  // namespace
}  // namespace holdfast::ext4
