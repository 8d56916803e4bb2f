// Goal: a damaged directory is refused with words that say where, and no damage leads out of it or round in circles.
// Method: one damage at a time in the root, a node or a leaf of an index, or in a linear block, against every
// operation; then random bytes anywhere. Every damage is undone and e2fsck finds nothing at the end.
#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "ext4/directory_file.h"
#include "ext4/hash_tree.h"
#include "ext4/hash_tree_node.h"
#include "unit/ext4/directory_image.h"
#include "unit/ext4/tree_builder.h"

namespace holdfast::ext4 {
namespace {

using Bytes = std::array<std::byte, kBlockBytes>;

// Blocks of the directory as they are in the cache.
class Blocks {
 public:
  explicit Blocks(DirectoryImage& image)
      : image_(image), file_(DirectoryFile::open(image.volume(), image.directory()).value()) {}
  BlockRef get(std::uint32_t block, BlockKind kind) { return file_.read(block, kind).value(); }
  std::byte* modify(BlockRef& ref) {
    file_.changed();
    return image_.volume().cache().modify(ref);
  }

 private:
  DirectoryImage& image_;
  DirectoryFile file_;
};

template <typename T>
void put(std::byte* block, std::size_t at, T value) {
  std::memcpy(block + at, &value, sizeof value);
}

struct Damage {
  const char* what;
  std::uint32_t block;  // of the directory
  std::function<void(std::byte*)> make;
  int code = EUCLEAN;
};

// Every operation that meets the damage says so, and none changes anything.
void expect_refused(DirectoryImage& image, const Damage& damage, bool lookups_meet_it) {
  SCOPED_TRACE(damage.what);
  const std::uint32_t blocks = image.blocks();
  const auto check = [&](const char* operation, const auto& result) {
    ASSERT_FALSE(result.has_value()) << operation;
    EXPECT_EQ(result.error().code(), damage.code) << operation;
    EXPECT_NE(result.error().message().find("directory inode " + std::to_string(raw(image.directory()))),
              std::string::npos)
        << result.error().message();
  };
  Volume& volume = image.volume();
  const InodeNumber d = image.directory();
  if (lookups_meet_it) {
    check("lookup", lookup(volume, d, "absent"));
    check("add", add_name(volume, d, {std::string(255, 'z'), image.target(), FileType::regular}));
    check("remove", image.remove("absent"));
    check("replace", image.replace("absent", image.target()));
  }
  check("list", read_directory(volume, d, 0, [](const Name&, std::uint64_t) { return true; }));
  EXPECT_EQ(image.blocks(), blocks);
}

class DirectoryDamage : public testing::TestWithParam<bool> {
 protected:
  DirectoryDamage() : image_({.mke2fs = {"-O", GetParam() ? "metadata_csum" : "^metadata_csum"}}) {}

  void fill(std::uint32_t names) {
    for (std::uint32_t i = 0; i < names; ++i) {
      const std::string name = "name-" + std::to_string(i);
      const InodeNumber inode = image_.target();
      ASSERT_TRUE(image_.add(name, inode));
      model_[name] = inode;
    }
  }

  void run(const std::vector<Damage>& table, bool index, bool lookups_meet_it = true) {
    for (const Damage& damage : table) {
      Blocks blocks(image_);
      BlockRef ref = blocks.get(damage.block, index ? BlockKind::hash_tree_node : BlockKind::directory);
      Bytes before;
      std::memcpy(before.data(), ref.data(), before.size());
      damage.make(blocks.modify(ref));
      expect_refused(image_, damage, lookups_meet_it);
      std::memcpy(blocks.modify(ref), before.data(), before.size());
    }
    DirectoryImage::Names listed = image_.list();
    listed.erase(".");
    listed.erase("..");
    EXPECT_EQ(listed, model_);
    EXPECT_TRUE(image_.close_and_check(model_));
  }

  DirectoryImage image_;
  DirectoryImage::Names model_;
};

constexpr std::uint32_t kNode = kNodeEntriesAt;
constexpr std::uint32_t kRoot = kRootEntriesAt;

TEST_P(DirectoryDamage, InTheRoot) {
  // One node with a wide first leaf; nothing is looked up below the second.
  build_tree(image_, {.nodes = {3, 1}});
  fill(20);
  const std::uint32_t blocks = image_.blocks();
  run(
      {
          {"the length of `.`", 0, [](std::byte* b) { put<std::uint16_t>(b, 4, 16); }},
          {"the name of `.`", 0, [](std::byte* b) { put<std::uint8_t>(b, 6, 2); }},
          {"the length of `..`", 0, [](std::byte* b) { put<std::uint16_t>(b, 16, 12); }},
          {"the name of `..`", 0, [](std::byte* b) { put<std::uint8_t>(b, 18, 3); }},
          {"the reserved word", 0, [](std::byte* b) { put<std::uint32_t>(b, kRootInfoAt, 1); }},
          {"the length of the head", 0, [](std::byte* b) { put<std::uint8_t>(b, kRootInfoAt + 5, 16); }},
          {"unknown flags", 0, [](std::byte* b) { put<std::uint8_t>(b, kRootInfoAt + 7, 1); }},
          {"an unknown hash", 0, [](std::byte* b) { put<std::uint8_t>(b, kRootInfoAt + 4, 6); }, EOPNOTSUPP},
          {"an index too deep", 0, [](std::byte* b) { put<std::uint8_t>(b, kRootInfoAt + 6, 2); }},
          {"an index much too deep", 0, [](std::byte* b) { put<std::uint8_t>(b, kRootInfoAt + 6, 255); }},
          {"a limit too small", 0, [](std::byte* b) { put<std::uint16_t>(b, kRoot, 100); }},
          {"a limit too large", 0, [](std::byte* b) { put<std::uint16_t>(b, kRoot, 600); }},
          {"no entries", 0, [](std::byte* b) { put<std::uint16_t>(b, kRoot + 2, 0); }},
          {"more entries than the limit", 0, [](std::byte* b) { put<std::uint16_t>(b, kRoot + 2, 512); }},
          {"65,535 entries", 0, [](std::byte* b) { put<std::uint16_t>(b, kRoot + 2, 65535); }},
          {"an entry for block 0", 0, [](std::byte* b) { put<std::uint32_t>(b, kRoot + 4, 0); }},
          {"an entry past the end", 0, [=](std::byte* b) { put<std::uint32_t>(b, kRoot + 4, blocks); }},
          {"an entry far past the end", 0, [](std::byte* b) { put<std::uint32_t>(b, kRoot + 4, 0x0fffffff); }},
          {"a leaf where a node belongs", 0, [](std::byte* b) { put<std::uint32_t>(b, kRoot + 4, 2); }},
      },
      true);
}

TEST_P(DirectoryDamage, InANode) {
  // The builder takes the number of a node before those of its leaves: the first node is block 1, its leaves 2 to 4.
  build_tree(image_, {.nodes = {3, 1}});
  fill(20);
  run(
      {
          {"an inode in the head", 1, [](std::byte* b) { put<std::uint32_t>(b, 0, 12); }},
          {"the length of the head", 1, [](std::byte* b) { put<std::uint16_t>(b, 4, 4084); }},
          {"a name in the head", 1, [](std::byte* b) { put<std::uint8_t>(b, 6, 1); }},
          {"a limit too small", 1, [](std::byte* b) { put<std::uint16_t>(b, kNode, 100); }},
          {"no entries", 1, [](std::byte* b) { put<std::uint16_t>(b, kNode + 2, 0); }},
          {"65,535 entries", 1, [](std::byte* b) { put<std::uint16_t>(b, kNode + 2, 65535); }},
          {"an entry for the root", 1, [](std::byte* b) { put<std::uint32_t>(b, kNode + 4, 0); }},
          {"an entry past the end", 1, [](std::byte* b) { put<std::uint32_t>(b, kNode + 4, 4096); }},
          {"a key above the next node's", 1, [](std::byte* b) { put<std::uint32_t>(b, kNode + 8, 0xfffffff0); }},
      },
      true);
}

TEST_P(DirectoryDamage, ThatOnlyAWalkMeets) {
  build_tree(image_, {.nodes = {3, 3}});
  fill(20);
  run(
      {
          {"a leaf named twice", 1, [](std::byte* b) { put<std::uint32_t>(b, kNode + 12, 2); }},
          {"a key below the one before", 1, [](std::byte* b) { put<std::uint32_t>(b, kNode + 16, 2); }},
          {"a node below itself", 5, [](std::byte* b) { put<std::uint32_t>(b, kNode + 4, 5); }},
          {"a key of the second node below its own", 5, [](std::byte* b) { put<std::uint32_t>(b, kNode + 8, 2); }},
      },
      true, false);
}

TEST_P(DirectoryDamage, OfANodeUnderItself) {
  build_tree(image_, {.nodes = {3, 1}});
  fill(5);
  // The second entry of the root leads to the first node as well: its keys are outside the second range.
  run({{"a node named twice", 0, [](std::byte* b) { put<std::uint32_t>(b, kRoot + 12, 1); }}}, true, false);
}

TEST_P(DirectoryDamage, InALeaf) {
  build_tree(image_, {.nodes = {}, .root_leaves = 3});
  fill(20);
  // Block 1 is the wide leaf; its second record begins at 16.
  run(
      {
          {"a record of no length", 1, [](std::byte* b) { put<std::uint16_t>(b, 16 + 4, 0); }},
          {"a record past the end", 1, [](std::byte* b) { put<std::uint16_t>(b, 16 + 4, 4092); }},
          {"an inode out of range", 1, [](std::byte* b) { put<std::uint32_t>(b, 16, 0x7fffffff); }},
          {"a name without bytes", 1, [](std::byte* b) { put<std::uint8_t>(b, 16 + 6, 0); }},
          {"a name longer than its record", 1, [](std::byte* b) { put<std::uint8_t>(b, 16 + 6, 200); }},
      },
      false);
}

TEST_P(DirectoryDamage, OfNames) {
  build_tree(image_, {.nodes = {}, .root_leaves = 3});
  fill(20);
  run(
      {
          {"a slash in a name", 1, [](std::byte* b) { put<char>(b, 16 + 8, '/'); }},
          {"a zero byte in a name", 1, [](std::byte* b) { put<char>(b, 16 + 8, '\0'); }},
      },
      false, false);
}

TEST_P(DirectoryDamage, InALinearBlock) {
  fill(20);
  run(
      {
          {"a record of no length", 0, [](std::byte* b) { put<std::uint16_t>(b, 24 + 4, 0); }},
          {"a record length that is odd", 0, [](std::byte* b) { put<std::uint16_t>(b, 24 + 4, 17); }},
          {"a record past the end", 0, [](std::byte* b) { put<std::uint16_t>(b, 24 + 4, 4096); }},
          {"an inode out of range", 0, [](std::byte* b) { put<std::uint32_t>(b, 24, 0x7fffffff); }},
      },
      false);
}

TEST_P(DirectoryDamage, OfTheInode) {
  fill(600);
  const auto with = [&](const char* what, int code, const std::function<void(ext2_inode_large&)>& make) {
    ext2_inode_large& body = image_.volume().inode(image_.directory()).value()->body;
    const ext2_inode_large before = body;
    make(body);
    image_.volume().directories().forget(image_.directory());
    expect_refused(image_, {what, 0, nullptr, code}, true);
    body = before;
    image_.volume().directories().forget(image_.directory());
  };
  // The image's functions count blocks by the size, so only what leaves the size whole is tried through them.
  with("inline", EOPNOTSUPP, [](ext2_inode_large& body) { body.i_flags |= EXT4_INLINE_DATA_FL; });
  with("encrypted", EOPNOTSUPP, [](ext2_inode_large& body) { body.i_flags |= EXT4_ENCRYPT_FL; });
  with("case-folded", EOPNOTSUPP, [](ext2_inode_large& body) { body.i_flags |= EXT4_CASEFOLD_FL; });
  with("no bytes", EUCLEAN, [](ext2_inode_large& body) { body.i_size = 0; });
  with("half a block", EUCLEAN, [](ext2_inode_large& body) { body.i_size = 2048; });
  with("not long enough for the index", EUCLEAN, [](ext2_inode_large& body) { body.i_size = 4096; });
  EXPECT_TRUE(image_.close_and_check(model_));
}

TEST_P(DirectoryDamage, OfRandomBytesEndsWithoutHarm) {
  fill(900);
  const std::uint32_t count = image_.blocks();
  ASSERT_GE(count, 4u);
  std::mt19937 random(31);
  Blocks blocks(image_);
  std::vector<Bytes> before(count);
  const auto kind = [](std::uint32_t block) { return block == 0 ? BlockKind::hash_tree_node : BlockKind::directory; };
  for (std::uint32_t block = 0; block < count; ++block) {
    std::memcpy(before[block].data(), blocks.get(block, kind(block)).data(), kBlockBytes);
  }
  unsigned refused = 0;
  for (int round = 0; round < 400; ++round) {
    for (auto places = 1 + random() % 3; places != 0; --places) {
      const auto block = static_cast<std::uint32_t>(random() % 2 == 0 ? 0 : random() % count);
      BlockRef ref = blocks.get(block, kind(block));
      // The head of a block has what matters most.
      const std::size_t at = random() % (random() % 2 == 0 ? 64 : kBlockBytes);
      blocks.modify(ref)[at] = static_cast<std::byte>(random());
    }
    for (int step = 0; step < 10; ++step) {
      const std::string name = "name-" + std::to_string(random() % 1800);
      refused += !lookup(image_.volume(), image_.directory(), name).has_value();
      refused += !image_.remove(name).has_value();
      refused += !image_.add(name + std::string(random() % 200, 'x'), image_.target()).has_value();
    }
    std::size_t seen = 0;
    const auto listed = read_directory(image_.volume(), image_.directory(), 0,
                                       [&](const Name&, std::uint64_t) { return ++seen < 100000; });
    refused += !listed.has_value();
    EXPECT_LT(seen, 100000u);
    static_cast<void>(directory_empty(image_.volume(), image_.directory()));
    for (std::uint32_t block = 0; block < count; ++block) {
      BlockRef ref = blocks.get(block, kind(block));
      std::memcpy(blocks.modify(ref), before[block].data(), kBlockBytes);
    }
  }
  EXPECT_GT(refused, 100u);
  // Blocks appended meanwhile belong to no leaf now; what was there before is there again.
  for (const auto& [name, inode] : model_) ASSERT_EQ(image_.find(name), inode);
}

INSTANTIATE_TEST_SUITE_P(Checksums, DirectoryDamage, testing::Bool(),
                         [](const auto& form) { return form.param ? "with" : "without"; });

// On the medium: what is read is verified before it is used.
TEST(DirectoryChecksum, OfALeafAndOfTheRootIsVerified) {
  DirectoryImage image;
  DirectoryImage::Names model;
  for (int i = 0; i < 600; ++i) {
    const InodeNumber inode = image.target();
    ASSERT_TRUE(image.add("name-" + std::to_string(i), inode));
    model["name-" + std::to_string(i)] = inode;
  }
  for (const std::uint32_t block : {0u, 1u, 2u}) {
    image.reopen();
    std::uint64_t number = 0;
    {
      DirectoryFile file = DirectoryFile::open(image.volume(), image.directory()).value();
      number = file.read(block, block == 0 ? BlockKind::hash_tree_node : BlockKind::directory).value().number();
    }
    image.reopen();
    std::byte* const home = image.volume().device().at(Pfn(number));
    home[40] ^= std::byte{1};
    const auto listed =
        read_directory(image.volume(), image.directory(), 0, [](const Name&, std::uint64_t) { return true; });
    home[40] ^= std::byte{1};
    ASSERT_FALSE(listed) << block;
    EXPECT_EQ(listed.error().code(), EUCLEAN);
    EXPECT_NE(listed.error().message().find("block " + std::to_string(block)), std::string::npos)
        << listed.error().message();
  }
  image.reopen();
  EXPECT_TRUE(image.close_and_check(model));
}

}  // namespace
}  // namespace holdfast::ext4
