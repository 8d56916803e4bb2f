// Extended attributes against a map of names and values, and as e2fsck, debugfs and the kernel see them. Method: seeded
// random changes in inodes with much, little and no room; images that the kernel wrote; one damaged field at a time.
#include "ext4/attribute.h"

#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/fault_point.h"
#include "support/ext4_bed.h"
#include "support/loop_mount.h"
#include "support/skip.h"

namespace holdfast::ext4 {
namespace {

using test::Ext4Bed;
using test::LoopMount;
using test::ProgramEnd;
using test::run_program;

using AttributeMap = std::map<std::string, std::string>;

AttributeMap attributes_of(Volume& volume, InodeNumber inode) {
  AttributeMap attributes;
  const auto names = list_attributes(volume, inode);
  if (!names) {
    ADD_FAILURE() << names.error().message();
    return attributes;
  }
  for (const std::string& name : *names) {
    const auto value = get_attribute(volume, inode, name);
    EXPECT_TRUE(value) << value.error().message();
    EXPECT_TRUE(attributes.emplace(name, value ? *value : "").second) << name << " is listed twice";
  }
  return attributes;
}

Status set(Ext4Bed& bed, unsigned file, const std::string& name, const std::string& value) {
  return set_attribute(bed.volume(), bed.file(file), name, value, AttributeMode::set);
}

// user::rwx,user:1000:rw-,group::r-x,mask::rwx,other::r--
std::string some_acl() {
  const std::uint16_t entries[][2] = {{1, 7}, {2, 6}, {4, 5}, {16, 7}, {32, 4}};
  std::string bytes("\2\0\0\0", 4);
  for (const auto& [tag, rights] : entries) {
    const std::uint32_t id = tag == 2 ? 1000 : 0xffffffff;
    bytes.append(reinterpret_cast<const char*>(&tag), 2);
    bytes.append(reinterpret_cast<const char*>(&rights), 2);
    bytes.append(reinterpret_cast<const char*>(&id), 4);
  }
  return bytes;
}

struct Shape {
  const char* name;
  const char* options;
};

class AttributeModel : public testing::TestWithParam<Shape> {};

TEST_P(AttributeModel, SaysWhatTheModelSays) {
  constexpr unsigned kFiles = 4;
  Ext4Bed bed(64 * MiB, GetParam().options, kFiles);
  const std::uint64_t free_before = bed.volume().free_clusters();
  std::vector<AttributeMap> models(kFiles);
  std::mt19937 random(7);
  const auto below = [&random](unsigned n) { return std::uniform_int_distribution<unsigned>(0, n - 1)(random); };
  const char* const prefixes[] = {"user.", "trusted.", "security."};
  unsigned full = 0;
  unsigned failed = 0;
  for (int round = 0; round < 3000; ++round) {
    const unsigned file = below(kFiles);
    AttributeMap& model = models[file];
    std::string name = prefixes[below(3)] + std::to_string(below(12));
    if (below(10) == 0) name += std::string(below(200), 'n');
    const bool known = model.count(name) != 0;
    if (below(20) == 0) {
      ASSERT_TRUE(remove_all_attributes(bed.volume(), bed.file(file)));
      model.clear();
    } else if (below(3) == 0) {
      const Status removed = remove_attribute(bed.volume(), bed.file(file), name);
      ASSERT_EQ(removed.has_value(), known);
      ASSERT_TRUE(removed || removed.error().code() == ENODATA);
      model.erase(name);
    } else {
      std::string value;
      for (unsigned n = below(below(4) == 0 ? 1500 : 40); n > 0; --n) value.push_back(static_cast<char>(below(256)));
      const auto mode = static_cast<AttributeMode>(below(3));
      if (below(5) == 0) fault_point::arm(below(2) == 0 ? "ext4.attribute.block" : "ext4.allocate_metadata", 1);
      const Status status = set_attribute(bed.volume(), bed.file(file), name, value, mode);
      fault_point::disarm_all();
      const int code = status ? 0 : status.error().code();
      if (mode == AttributeMode::create && known) {
        ASSERT_EQ(code, EEXIST);
      } else if (mode == AttributeMode::replace && !known) {
        ASSERT_EQ(code, ENODATA);
      } else if (code == 0) {
        model[name] = value;
      } else {
        ASSERT_EQ(code, ENOSPC) << status.error().message();
        ++(status.error().reason().find("beside") != std::string::npos ? full : failed);
      }
    }
    ASSERT_EQ(attributes_of(bed.volume(), bed.file(file)), model) << "round " << round;
    if (round % 500 == 499) {
      ASSERT_TRUE(bed.clean()) << "round " << round;
    }
    if (round % 1000 == 999) bed.reopen();
  }
  EXPECT_GT(full, 5u);
  EXPECT_GT(failed, 5u);
  for (unsigned file = 0; file < kFiles; ++file) {
    ASSERT_TRUE(remove_all_attributes(bed.volume(), bed.file(file)));
    EXPECT_TRUE(attributes_of(bed.volume(), bed.file(file)).empty());
  }
  EXPECT_EQ(bed.volume().free_clusters(), free_before);
  EXPECT_TRUE(bed.clean());
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttributeModel,
                         testing::Values(Shape{"inodes_256", ""}, Shape{"inodes_128", "-I 128"},
                                         Shape{"inodes_1024", "-I 1024"},
                                         Shape{"without_checksums", "-O ^metadata_csum,^64bit"},
                                         Shape{"clusters_64k", "-O bigalloc -C 65536"}),
                         [](const auto& param) { return param.param.name; });

TEST(Attribute, DebugfsSeesThem) {
  Ext4Bed bed(64 * MiB, "", 1);
  ASSERT_TRUE(set(bed, 0, "user.small", "in the inode"));
  ASSERT_TRUE(set(bed, 0, "security.large", std::string(2000, 'L')));
  ASSERT_TRUE(set(bed, 0, "trusted.empty", ""));
  ASSERT_TRUE(set(bed, 0, "system.posix_acl_access", some_acl()));
  ASSERT_TRUE(bed.clean());
  const std::string list = bed.debugfs("ea_list /f0");
  EXPECT_NE(list.find("user.small (12) = \"in the inode\""), std::string::npos) << list;
  EXPECT_NE(list.find("security.large (2000)"), std::string::npos) << list;
  EXPECT_NE(list.find("trusted.empty (0)"), std::string::npos) << list;
  EXPECT_NE(list.find("system.posix_acl_access (28)"), std::string::npos) << list;
}

TEST(Attribute, TheKernelSeesThem) {
  Ext4Bed bed(64 * MiB, "", 2);
  ASSERT_TRUE(set(bed, 0, "user.small", "in the inode"));
  ASSERT_TRUE(set(bed, 0, "user.large", std::string(2000, 'L')));
  ASSERT_TRUE(set(bed, 0, "security.other", "s"));
  ASSERT_TRUE(set(bed, 0, "trusted.bytes", std::string("\0\1\xff", 3)));
  ASSERT_TRUE(set(bed, 0, "system.posix_acl_access", some_acl()));
  ASSERT_TRUE(set(bed, 1, "user.\xc3\xa9\xff", "name above 127"));
  ASSERT_TRUE(set(bed, 1, "user.fill", std::string(200, 'f')));
  bed.close();
  {
    const LoopMount mount(bed.image(), "ro");
    if (!mount.refusal().empty()) HF_SKIP_CAPABILITY("loop", mount.refusal());
    const std::string hex = run_program("getfattr --absolute-names -d -m - -e hex '" + mount.path("f0") + "'").output;
    EXPECT_NE(hex.find("user.small=0x696e2074686520696e6f6465\n"), std::string::npos) << hex;
    EXPECT_NE(hex.find("security.other=0x73\n"), std::string::npos) << hex;
    EXPECT_NE(hex.find("trusted.bytes=0x0001ff\n"), std::string::npos) << hex;
    const std::string large = run_program("getfattr --only-values -n user.large '" + mount.path("f0") + "'").output;
    EXPECT_NE(large.find(std::string(2000, 'L')), std::string::npos);
    const std::string acl = run_program("getfacl -n --absolute-names '" + mount.path("f0") + "'").output;
    EXPECT_NE(acl.find("user:1000:rw-\n"), std::string::npos) << acl;
    EXPECT_NE(acl.find("mask::rwx\n"), std::string::npos) << acl;
    const std::string all = run_program("getfattr --absolute-names -d -m - '" + mount.path("f1") + "'").output;
    EXPECT_NE(all.find("name above 127"), std::string::npos) << all;
  }
  EXPECT_TRUE(test::e2fsck_clean(bed.image()));
}

// The kernel lets inodes share a block whose attributes are all alike.
TEST(Attribute, BlocksThatTheKernelSharedAreCopiedOnChange) {
  Ext4Bed bed(64 * MiB, "", 4);
  bed.close();
  const std::string value(1000, 's');
  {
    const LoopMount mount(bed.image(), "rw");
    if (!mount.refusal().empty()) HF_SKIP_CAPABILITY("loop", mount.refusal());
    for (unsigned file = 0; file < 4; ++file) {
      const ProgramEnd end =
          run_program(fmt::format("setfattr -n user.shared -v {} '{}'", value, mount.path(fmt::format("f{}", file))));
      ASSERT_EQ(end.status, 0) << end.output;
    }
    run_program("setfacl -m u:1000:rw " + mount.path("f3"));
  }
  bed.open();
  Volume& volume = bed.volume();
  const auto block_of = [&](unsigned file) { return volume.inode(bed.file(file)).value()->body.i_file_acl; };
  ASSERT_NE(block_of(0), 0u);
  ASSERT_EQ(block_of(0), block_of(1)) << "the kernel did not share";
  ASSERT_EQ(block_of(0), block_of(2));
  for (unsigned file = 0; file < 4; ++file) {
    EXPECT_EQ(get_attribute(volume, bed.file(file), "user.shared").value(), value);
  }
  const Result<std::string> acl = get_attribute(volume, bed.file(3), "system.posix_acl_access");
  ASSERT_TRUE(acl) << acl.error().message();
  EXPECT_EQ(acl->size(), 4u + 5 * 8);

  const std::uint64_t free_before = volume.free_clusters();
  fault_point::arm("ext4.attribute.block", 1);
  EXPECT_EQ(set(bed, 0, "user.shared", std::string(1000, 'n')).error().code(), ENOSPC);
  fault_point::disarm_all();
  EXPECT_EQ(block_of(0), block_of(1));
  ASSERT_TRUE(set(bed, 0, "user.shared", std::string(1000, 'n')));
  EXPECT_NE(block_of(0), block_of(1));
  EXPECT_EQ(volume.free_clusters(), free_before - 1);
  EXPECT_EQ(get_attribute(volume, bed.file(0), "user.shared").value(), std::string(1000, 'n'));
  EXPECT_EQ(get_attribute(volume, bed.file(1), "user.shared").value(), value);
  EXPECT_TRUE(bed.clean());
  // The others leave one by one; the last takes the block with it.
  ASSERT_TRUE(remove_attribute(volume, bed.file(1), "user.shared"));
  EXPECT_EQ(block_of(1), 0u);
  EXPECT_EQ(volume.free_clusters(), free_before - 1);
  EXPECT_TRUE(bed.clean());
  ASSERT_TRUE(remove_all_attributes(volume, bed.file(2)));
  ASSERT_TRUE(remove_all_attributes(volume, bed.file(3)));
  EXPECT_EQ(volume.free_clusters(), free_before);
  EXPECT_TRUE(bed.clean());
}

TEST(Attribute, WhatCannotBeIsRefused) {
  Ext4Bed bed(64 * MiB, "", 1);
  const auto code = [&](const std::string& name, const std::string& value) {
    const Status status = set(bed, 0, name, value);
    return status ? 0 : status.error().code();
  };
  EXPECT_EQ(code("user." + std::string(251, 'n'), "v"), ERANGE);
  EXPECT_EQ(code("user.", "v"), EINVAL);
  EXPECT_EQ(code("nobody.knows", "v"), EOPNOTSUPP);
  EXPECT_EQ(code("system.data", "v"), EOPNOTSUPP);
  EXPECT_EQ(code("user.v", std::string(65537, 'v')), E2BIG);
  EXPECT_EQ(code("user.v", std::string(65536, 'v')), ENOSPC);
  EXPECT_EQ(code("system.posix_acl_access", "acl"), EINVAL);
  // Block, header, end mark, entry with its name of one letter.
  const std::size_t most = 4096 - 32 - 4 - 20;
  EXPECT_EQ(code("user.v", std::string(most + 1, 'v')), ENOSPC);
  EXPECT_EQ(code("user.v", std::string(most, 'v')), 0);
  EXPECT_EQ(code("user.w", std::string(200, 'w')), ENOSPC) << "no room beside the other";
  EXPECT_EQ(code("user.w", std::string(40, 'w')), 0) << "the inode has room";
  EXPECT_EQ(get_attribute(bed.volume(), bed.file(0), "user.none").error().code(), ENODATA);
  EXPECT_EQ(get_attribute(bed.volume(), bed.file(0), "none").error().code(), EOPNOTSUPP);
  // An access control list without entries is none.
  EXPECT_EQ(code("user.v", ""), 0);
  EXPECT_EQ(code("system.posix_acl_default", some_acl()), 0);
  EXPECT_EQ(code("system.posix_acl_default", std::string("\2\0\0\0", 4)), 0);
  EXPECT_EQ(get_attribute(bed.volume(), bed.file(0), "system.posix_acl_default").error().code(), ENODATA);
  EXPECT_TRUE(bed.clean());
  Ext4Bed without(64 * MiB, "-O ^ext_attr", 1);
  EXPECT_EQ(set(without, 0, "user.v", "v").error().code(), EOPNOTSUPP);
}

TEST(Attribute, DamagedOnesAreRefused) {
  const auto patch = [](RawInode& raw, std::size_t at, std::uint32_t value) {
    std::byte* const bytes =
        at < sizeof raw.body ? reinterpret_cast<std::byte*>(&raw.body) + at : raw.tail.data() + (at - sizeof raw.body);
    std::memcpy(bytes, &value, sizeof value);
  };
  const struct {
    const char* what;
    std::function<void(RawInode& raw, std::byte* block)> breaks;
  } cases[] = {
      {"magic of the block", [](RawInode&, std::byte* block) { block[0] ^= std::byte{1}; }},
      {"nobody refers to the block", [](RawInode&, std::byte* block) { block[4] = std::byte{0}; }},
      {"two blocks", [](RawInode&, std::byte* block) { block[8] = std::byte{2}; }},
      {"value outside the block", [](RawInode&, std::byte* block) { block[32 + 3] = std::byte{0x10}; }},
      {"value inside the entries", [](RawInode&, std::byte* block) { block[32 + 3] = block[32 + 2] = std::byte{0}; }},
      {"size of the value", [](RawInode&, std::byte* block) { block[32 + 11] = std::byte{0xff}; }},
      {"value in another inode", [](RawInode&, std::byte* block) { block[32 + 4] = std::byte{12}; }},
      {"no end", [](RawInode&, std::byte* block) { std::memset(block + 32, 0x11, 4096 - 32); }},
      {"block number", [](RawInode& raw, std::byte*) { raw.body.i_file_acl = 1; }},
      {"block number past the volume", [](RawInode& raw, std::byte*) { raw.body.i_file_acl = 1 << 30; }},
      {"extra size", [](RawInode& raw, std::byte*) { raw.body.i_extra_isize = 130; }},
      {"odd extra size", [](RawInode& raw, std::byte*) { raw.body.i_extra_isize = 30; }},
      {"name in the inode", [&patch](RawInode& raw, std::byte*) { patch(raw, 164, 0x000001ff); }},
      {"value in the inode", [&patch](RawInode& raw, std::byte*) { patch(raw, 172, 93); }},
  };
  Ext4Bed bed(64 * MiB, "", 1);
  Volume& volume = bed.volume();
  ASSERT_TRUE(set(bed, 0, "user.small", "in the inode"));
  ASSERT_TRUE(set(bed, 0, "user.large", std::string(2000, 'L')));
  ASSERT_TRUE(bed.clean());
  RawInode& raw = *volume.inode(bed.file(0)).value();
  const RawInode good_inode = raw;
  std::array<std::byte, kBlockBytes> good_block;
  {
    const BlockRef ref = volume.cache().read(raw.body.i_file_acl, BlockKind::attributes).value();
    std::memcpy(good_block.data(), ref.data(), kBlockBytes);
  }
  for (const auto& c : cases) {
    BlockRef ref = volume.cache().read(good_inode.body.i_file_acl, BlockKind::attributes).value();
    c.breaks(raw, volume.cache().modify(ref));
    EXPECT_EQ(list_attributes(volume, bed.file(0)).error().code(), EUCLEAN) << c.what;
    EXPECT_EQ(get_attribute(volume, bed.file(0), "user.small").error().code(), EUCLEAN) << c.what;
    EXPECT_EQ(set(bed, 0, "user.other", "v").error().code(), EUCLEAN) << c.what;
    EXPECT_EQ(remove_attribute(volume, bed.file(0), "user.large").error().code(), EUCLEAN) << c.what;
    raw = good_inode;
    std::memcpy(volume.cache().modify(ref), good_block.data(), kBlockBytes);
  }
  EXPECT_TRUE(bed.clean());
}

}  // namespace
}  // namespace holdfast::ext4
