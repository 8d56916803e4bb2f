// Goal: a listing that goes on by cursors shows every name that stays exactly once, whatever happens to others between
// two calls, and always ends. Method: listings in small pieces with random changes between them, through the change
// from one block to an index, splits and names of one hash.
#include <gtest/gtest.h>

#include <iterator>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "ext4/dir_block.h"
#include "ext4/directory_file.h"
#include "unit/ext4/colliding_names.h"
#include "unit/ext4/directory_image.h"

namespace holdfast::ext4 {
namespace {

struct Form {
  const char* name;
  std::vector<std::string> mke2fs = {};
  std::string hash = "half_md4";
};

std::ostream& operator<<(std::ostream& out, const Form& form) { return out << form.name; }

class DirectoryList : public testing::TestWithParam<Form> {
 protected:
  // A new directory, without names.
  void begin() {
    image_.emplace(DirectoryImage::Options{.mke2fs = GetParam().mke2fs, .hash = GetParam().hash});
    model_.clear();
  }
  void add(const std::string& name) {
    const InodeNumber inode = image_->target();
    ASSERT_TRUE(image_->add(name, inode)) << name;
    model_[name] = inode;
  }
  void remove(const std::string& name) {
    ASSERT_TRUE(image_->remove(name)) << name;
    model_.erase(name);
  }
  Result<std::uint64_t> read(std::uint64_t cursor, const filesystem::Format::NameVisitor& visit) {
    return read_directory(image_->volume(), image_->directory(), cursor, visit);
  }

  std::optional<DirectoryImage> image_;
  DirectoryImage::Names model_;
};

TEST_P(DirectoryList, NamesThatStayAreSeenOnceAmongChanges) {
  std::mt19937 random(99);
  for (int round = 0; round < 12; ++round) {
    SCOPED_TRACE(round);
    begin();
    // Few names begin in one block and leave it on the way.
    const std::ptrdiff_t stay = round % 3 == 0 ? 30 : 400;
    std::set<std::string> staying;
    while (std::ssize(staying) < stay) staying.insert("stays-" + std::to_string(random()));
    std::vector<std::string> others;
    if (round % 3 == 1) {
      // Of the names of one hash every other one goes meanwhile: the cursors of the rest must not move up.
      const std::vector<std::string> colliding = colliding_names();
      for (std::size_t i = 0; i < colliding.size(); ++i) {
        if (i % 2 == 0) {
          staying.insert(colliding[i]);
        } else {
          others.push_back(colliding[i]);
        }
      }
    }
    for (const std::string& name : staying) add(name);
    for (const std::string& name : others) add(name);
    const std::uint32_t blocks = image_->blocks();
    std::map<std::string, int> seen;
    std::uint64_t cursor = 0;
    while (cursor != filesystem::kDirectoryEnd) {
      std::size_t left = 1 + random() % static_cast<std::size_t>(stay / 20 + 2);
      const auto result = read(cursor, [&](const Name& name, std::uint64_t) {
        ++seen[name.name];
        return --left != 0;
      });
      ASSERT_TRUE(result) << result.error().message();
      ASSERT_GT(*result, cursor);
      cursor = *result;
      // Changes end at some time: where order is by place, new names are in front of the cursor.
      for (auto changes = random() % 60; changes != 0 && others.size() < 2000; --changes) {
        if (random() % 3 != 0 || others.empty()) {
          others.push_back("other-" + std::to_string(random()) + std::string(random() % 100, 'o'));
          add(others.back());
        } else {
          std::swap(others[random() % others.size()], others.back());
          remove(others.back());
          others.pop_back();
        }
      }
    }
    for (const std::string& name : staying) EXPECT_EQ(seen[name], 1) << name;
    // No other name ever came back either.
    for (const auto& [name, times] : seen) EXPECT_EQ(times, 1) << name;
    EXPECT_EQ(seen.count("."), 1u);
    EXPECT_EQ(seen.count(".."), 1u);
    EXPECT_GT(image_->blocks(), blocks) << "little happened meanwhile";
    EXPECT_TRUE(image_->close_and_check(model_));
  }
}

TEST_P(DirectoryList, GoesOnFromEveryCursor) {
  begin();
  for (const std::string& name : colliding_names()) add(name);
  for (int i = 0; i < 700; ++i) add("name-" + std::to_string(i));
  std::vector<std::pair<std::string, std::uint64_t>> order;
  ASSERT_TRUE(read(0, [&](const Name& name, std::uint64_t next) {
    order.emplace_back(name.name, next);
    return true;
  }));
  ASSERT_EQ(order.size(), model_.size() + 2);
  EXPECT_EQ(order[0].first, ".");
  EXPECT_EQ(order[1].first, "..");
  for (std::size_t i = 0; i < order.size(); ++i) {
    std::size_t at = i + 1;
    ASSERT_TRUE(read(order[i].second, [&](const Name& name, std::uint64_t) {
      EXPECT_EQ(name.name, order[at].first);
      // Enough to leave the leaf now and then.
      return ++at % 40 != 0;
    }));
    EXPECT_GT(at, i + (i + 1 < order.size()));
  }
  for (const std::uint64_t cursor : {std::uint64_t{1} << 62, (std::uint64_t{1} << 63) + 2,
                                     filesystem::kDirectoryEnd - 1, filesystem::kDirectoryEnd}) {
    const auto result = read(cursor, [](const Name&, std::uint64_t) { return true; });
    EXPECT_EQ(result.value(), filesystem::kDirectoryEnd) << cursor;
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, DirectoryList,
                         testing::Values(Form{"indexed"}, Form{"legacy", {}, "legacy"}, Form{"tea", {}, "tea"},
                                         Form{"without_checksums", {"-O", "^metadata_csum"}},
                                         Form{"linear", {"-O", "^dir_index"}}),
                         [](const auto& form) { return form.param.name; });

// A damaged directory can hold one name many times: then all have the same hash, minor hash included.
TEST(DirectoryListDamage, OneNameManyTimesStillEnds) {
  DirectoryImage image;
  DirectoryFile file = DirectoryFile::open(image.volume(), image.directory()).value();
  BlockRef ref = file.read(0, BlockKind::directory).value();
  BlockWriter writer(file.cache().modify(ref), file.shape());
  writer.add({".", raw(image.directory()), EXT2_FT_DIR});
  writer.add({"..", EXT2_ROOT_INO, EXT2_FT_DIR});
  for (std::uint32_t i = 0; i < 100; ++i) writer.add({"twin", raw(image.target()), EXT2_FT_REG_FILE});
  writer.finish();
  file.changed();
  for (const std::size_t piece : {1u, 10u, 1000u}) {
    std::size_t seen = 0;
    for (std::uint64_t cursor = 0; cursor != filesystem::kDirectoryEnd;) {
      std::size_t left = piece;
      const auto next = read_directory(image.volume(), image.directory(), cursor, [&](const Name&, std::uint64_t) {
        ++seen;
        return --left != 0;
      });
      ASSERT_TRUE(next);
      ASSERT_GT(*next, cursor);
      cursor = *next;
    }
    EXPECT_GE(seen, 2u + 64u) << "as many as there are cursors for";
    EXPECT_LE(seen, 2u + 100u);
  }
}

}  // namespace
}  // namespace holdfast::ext4
