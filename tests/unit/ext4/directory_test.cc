// Goal: a directory behaves as a map from names to inodes, whatever its form, and e2fsck finds nothing wrong with what
// it leaves. Method: random changes against std::map on images with and without indexes, checksums and types.
#include "ext4/directory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/fault_point.h"
#include "unit/ext4/colliding_names.h"
#include "unit/ext4/directory_image.h"

namespace holdfast::ext4 {
namespace {

using Model = std::map<std::string, InodeNumber>;

struct Form {
  const char* name;
  std::vector<std::string> mke2fs = {};  // options
  std::string hash = "half_md4";
};

std::ostream& operator<<(std::ostream& out, const Form& form) { return out << form.name; }

class DirectoryForm : public testing::TestWithParam<Form> {
 protected:
  DirectoryForm() : image_({.mke2fs = GetParam().mke2fs, .hash = GetParam().hash}) {}
  DirectoryImage image_;
};

std::string random_name(std::mt19937& random) {
  const std::size_t length = random() % 6 == 0 ? 200 + random() % 56 : 1 + random() % 24;
  std::string name(length, 'n');
  // Few different ends, so that names meet again; any byte but slash and zero.
  name[0] = static_cast<char>('0' + random() % 70);
  if (name[0] == '/') name[0] = '_';
  for (std::size_t i = length < 3 ? 0 : length - 3; i < length; ++i) {
    name[i] = static_cast<char>(128 + random() % 8);
  }
  return name;
}

void expect_same(DirectoryImage& image, const Model& model) {
  Model listed = image.list();
  EXPECT_EQ(listed.erase("."), 1u);
  EXPECT_EQ(listed.erase(".."), 1u);
  EXPECT_EQ(listed, model);
}

TEST_P(DirectoryForm, AgreesWithAMap) {
  std::mt19937 random(4711);
  Model model;
  for (int phase = 0; phase < 6; ++phase) {
    // Grows, then shrinks, and so on.
    const unsigned add_share = phase % 2 == 0 ? 80 : 20;
    for (int round = 0; round < 1500; ++round) {
      const std::string name = random_name(random);
      const bool there = model.count(name) != 0;
      const InodeNumber inode = image_.target();
      if (random() % 100 < add_share) {
        const Status added = image_.add(name, inode);
        ASSERT_EQ(added.has_value(), !there) << (added ? "" : added.error().message());
        if (there) {
          EXPECT_EQ(added.error().code(), EEXIST);
        } else {
          model[name] = inode;
        }
      } else if (random() % 4 == 0) {
        const Status replaced = image_.replace(name, inode);
        ASSERT_EQ(replaced.has_value(), there);
        if (there) {
          model[name] = inode;
        } else {
          EXPECT_EQ(replaced.error().code(), ENOENT);
        }
      } else {
        // A name that is there, if there is any near a random one.
        const auto near = model.lower_bound(name);
        const std::string victim = near == model.end() ? name : near->first;
        const Status removed = image_.remove(victim);
        ASSERT_EQ(removed.has_value(), model.erase(victim) == 1);
        if (!removed) {
          EXPECT_EQ(removed.error().code(), ENOENT);
        }
      }
      const auto found = image_.find(name);
      ASSERT_EQ(found.has_value(), model.count(name) == 1) << name;
      if (found) {
        ASSERT_EQ(*found, model[name]);
      }
    }
    expect_same(image_, model);
    image_.reopen();
    expect_same(image_, model);
  }
  EXPECT_GT(image_.blocks(), 4u);
  EXPECT_TRUE(image_.close_and_check(model));
}

TEST_P(DirectoryForm, GivesAllItsRoomBack) {
  Model model;
  const auto fill = [&] {
    for (int i = 0; i < 2000; ++i) {
      const std::string name = "name-" + std::to_string(i);
      const InodeNumber inode = image_.target();
      ASSERT_TRUE(image_.add(name, inode));
      model[name] = inode;
    }
  };
  const auto empty = [&] {
    EXPECT_FALSE(image_.empty());
    for (const auto& [name, inode] : model) ASSERT_TRUE(image_.remove(name));
    model.clear();
    EXPECT_TRUE(image_.empty());
    expect_same(image_, {});
  };
  fill();
  const std::uint32_t blocks = image_.blocks();
  empty();
  for (int round = 0; round < 3; ++round) {
    fill();
    EXPECT_EQ(image_.blocks(), blocks) << "the same names find the room of the last time";
    empty();
  }
  fill();
  EXPECT_TRUE(image_.close_and_check(model));
}

TEST_P(DirectoryForm, RefusesWhatIsNoName) {
  const InodeNumber inode = image_.target();
  const auto code = [](const Status& status) { return status ? 0 : status.error().code(); };
  EXPECT_EQ(code(image_.add("", inode)), EINVAL);
  EXPECT_EQ(code(image_.add("a/b", inode)), EINVAL);
  EXPECT_EQ(code(image_.add(std::string("a\0b", 3), inode)), EINVAL);
  EXPECT_EQ(code(image_.add(std::string(256, 'x'), inode)), ENAMETOOLONG);
  EXPECT_EQ(code(image_.add("a", filesystem::kNoInode)), EINVAL);
  EXPECT_EQ(code(image_.add("a", InodeNumber{0x7fffffff})), EINVAL);
  for (const std::string dot : {".", ".."}) {
    EXPECT_EQ(code(image_.add(dot, inode)), EEXIST);
    EXPECT_EQ(code(image_.remove(dot)), EINVAL);
    EXPECT_EQ(code(image_.replace(dot, inode)), EINVAL);
  }
  EXPECT_EQ(lookup(image_.volume(), image_.directory(), std::string(256, 'x')).error().code(), ENAMETOOLONG);
  EXPECT_EQ(lookup(image_.volume(), inode, "a").error().code(), ENOTDIR);
  EXPECT_TRUE(image_.add(std::string(255, 'x'), inode));
  EXPECT_TRUE(image_.close_and_check({{std::string(255, 'x'), inode}}));
}

TEST_P(DirectoryForm, DotsAreFoundAndFollowAMove) {
  Model model;
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(image_.find("."), image_.directory());
    EXPECT_EQ(image_.find(".."), InodeNumber{EXT2_ROOT_INO});
    const InodeNumber elsewhere{11};  // lost+found
    ASSERT_TRUE(set_parent(image_.volume(), image_.directory(), elsewhere));
    EXPECT_EQ(image_.find(".."), elsewhere);
    ASSERT_TRUE(set_parent(image_.volume(), image_.directory(), InodeNumber{EXT2_ROOT_INO}));
    // The second time in a directory of several blocks.
    for (int i = 0; i < 600 && round == 0; ++i) {
      const InodeNumber inode = image_.target();
      ASSERT_TRUE(image_.add("name-" + std::to_string(i), inode));
      model["name-" + std::to_string(i)] = inode;
    }
  }
  EXPECT_TRUE(image_.close_and_check(model));
}

TEST_P(DirectoryForm, NoSpaceChangesNothing) {
  Model model;
  int next = 0;
  unsigned refusals = 0;
  while (refusals < 6) {
    const std::string name = "quite-a-long-name-so-that-blocks-fill-soon-" + std::to_string(next++);
    const InodeNumber inode = image_.target();
    fault_point::arm("ext4.directory.reserve", 1);
    const Status added = image_.add(name, inode);
    fault_point::disarm_all();
    if (!added) {
      EXPECT_EQ(added.error().code(), ENOSPC);
      ++refusals;
      expect_same(image_, model);
      ASSERT_TRUE(image_.add(name, inode));
    }
    model[name] = inode;
  }
  EXPECT_TRUE(image_.close_and_check(model));
}

INSTANTIATE_TEST_SUITE_P(Forms, DirectoryForm,
                         testing::Values(Form{"indexed", {}},
                                         Form{"indexed_without_checksums", {"-O", "^metadata_csum"}},
                                         Form{"indexed_tea", {}, "tea"}, Form{"indexed_legacy", {}, "legacy"},
                                         Form{"linear", {"-O", "^dir_index"}},
                                         Form{"linear_without_checksums", {"-O", "^dir_index,^metadata_csum"}},
                                         Form{"without_types", {"-O", "^filetype"}}),
                         [](const auto& form) { return form.param.name; });

class DirectoryTest : public testing::Test {};

TEST_F(DirectoryTest, NamesOfOneHashFillManyLeaves) {
  DirectoryImage image({.hash = "legacy"});
  Model model;
  // 255 bytes each: 15 to a leaf.
  const std::vector<std::string> names = colliding_names();
  for (const std::string& name : names) {
    const InodeNumber inode = image.target();
    ASSERT_TRUE(image.add(name, inode));
    model[name] = inode;
    ASSERT_EQ(image.add(name, inode).error().code(), EEXIST) << "in whichever leaf it is";
  }
  // Some of other hashes around them.
  for (int i = 0; i < 500; ++i) {
    const InodeNumber inode = image.target();
    ASSERT_TRUE(image.add("other-" + std::to_string(i), inode));
    model["other-" + std::to_string(i)] = inode;
  }
  for (const std::string& name : names) EXPECT_EQ(image.find(name), model[name]);
  expect_same(image, model);
  for (std::size_t i = 0; i < names.size(); i += 2) {
    ASSERT_TRUE(image.remove(names[i]));
    model.erase(names[i]);
  }
  for (std::size_t i = 0; i < names.size(); ++i) EXPECT_EQ(image.find(names[i]).has_value(), i % 2 == 1);
  expect_same(image, model);
  EXPECT_TRUE(image.close_and_check(model));
}

TEST_F(DirectoryTest, TypesComeFromTheRecordOrFromTheInode) {
  for (const char* features : {"filetype", "^filetype"}) {
    DirectoryImage image({.mke2fs = {"-O", features}});
    const InodeNumber file = image.target();
    ASSERT_TRUE(image.add("file", file));
    EXPECT_EQ(lookup(image.volume(), image.directory(), "file")->value().type, FileType::regular);
    EXPECT_EQ(lookup(image.volume(), image.directory(), "..")->value().type, FileType::directory);
    EXPECT_EQ(lookup(image.volume(), InodeNumber{EXT2_ROOT_INO}, "lost+found")->value().type, FileType::directory);
    std::map<std::string, FileType> types;
    ASSERT_TRUE(read_directory(image.volume(), InodeNumber{EXT2_ROOT_INO}, 0, [&](const Name& name, std::uint64_t) {
      types[name.name] = name.type;
      return true;
    }));
    EXPECT_EQ(types["lost+found"], FileType::directory);
    EXPECT_TRUE(image.close_and_check({{"file", file}}));
  }
}

}  // namespace
}  // namespace holdfast::ext4
