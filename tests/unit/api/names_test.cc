// Goal: names behave as POSIX says, through the public interface on a real pool. Method: each operation with what it
// must do and each error it must give; e2fsck judges the pool after every test.
#include <algorithm>
#include <set>

#include "support/pool_fixture.h"

namespace holdfast::test {
namespace {

class Names : public PoolTest {
 protected:
  std::set<std::string> listing(std::string_view directory) {
    std::set<std::string> names;
    fs().list(directory, [&names](const DirectoryEntry& entry) { return names.insert(entry.name).second; }).value();
    return names;
  }
  std::uint32_t links(std::string_view path) { return fs().stat(path, Follow::no).value().links; }
  std::uint32_t inode(std::string_view path) { return fs().stat(path, Follow::no).value().inode; }
};

using NamesSet = std::set<std::string>;

TEST_F(Names, CreateOpensWhatIsThereUnlessExclusive) {
  make_file("/a", 3);
  EXPECT_EQ(make_file("/a").size(), 3U);
  EXPECT_EQ(code_of(fs().open("/a", Open::write | Open::create | Open::exclusive)), EEXIST);
  EXPECT_EQ(code_of(fs().open("/none", Open::read)), ENOENT);
  EXPECT_EQ(code_of(fs().open("/", Open::write)), EISDIR);
  EXPECT_EQ(code_of(fs().open("/a/b", Open::read)), ENOTDIR);
  EXPECT_EQ(code_of(fs().open("/a/", Open::read)), ENOTDIR);
  EXPECT_EQ(code_of(fs().open("a", Open::read)), EINVAL);
  EXPECT_EQ(code_of(fs().open("", Open::read)), ENOENT);
  EXPECT_EQ(code_of(fs().open("/new/", Open::write | Open::create)), EISDIR);
  EXPECT_EQ(code_of(fs().open("/" + std::string(256, 'n'), Open::write | Open::create)), ENAMETOOLONG);
  EXPECT_EQ(code_of(fs().open("/" + std::string(255, 'n'), Open::write | Open::create)), 0);
  EXPECT_EQ(code_of(fs().open("/" + std::string(5000, '/') + "a", Open::read)), ENAMETOOLONG);
}

TEST_F(Names, OpenCanTruncate) {
  make_file("/a", 10000);
  const File file = fs().open("/a", Open::read_write | Open::truncate).value();
  EXPECT_EQ(file.size(), 0U);
}

TEST_F(Names, DirectoriesCountTheirSubdirectories) {
  fs().make_directory("/d").value();
  EXPECT_EQ(links("/d"), 2U);
  fs().make_directory("/d/e").value();
  EXPECT_EQ(links("/d"), 3U);
  EXPECT_EQ(code_of(fs().make_directory("/d")), EEXIST);
  EXPECT_EQ(code_of(fs().make_directory("/none/e")), ENOENT);
  EXPECT_EQ(code_of(fs().remove_directory("/d")), ENOTEMPTY);
  EXPECT_EQ(code_of(fs().unlink("/d")), EISDIR);
  EXPECT_EQ(code_of(fs().remove_directory("/")), EBUSY);
  EXPECT_EQ(code_of(fs().remove_directory("/d/.")), EINVAL);
  make_file("/f");
  EXPECT_EQ(code_of(fs().remove_directory("/f")), ENOTDIR);
  fs().remove_directory("/d/e").value();
  EXPECT_EQ(links("/d"), 2U);
  fs().remove_directory("/d").value();
  EXPECT_FALSE(exists("/d"));
}

TEST_F(Names, DotsAndSlashesMeanWhatTheyMean) {
  fs().make_directory("/d").value();
  fs().make_directory("/d/e").value();
  make_file("/d/f");
  EXPECT_EQ(inode("//d/./e/../f"), inode("/d/f"));
  EXPECT_EQ(inode("/../../d/"), inode("/d"));
  EXPECT_EQ(inode("/d/e/.."), inode("/d"));
}

TEST_F(Names, AListingShowsEachNameOnce) {
  NamesSet expected;
  for (int i = 0; i < 2000; ++i) {
    const std::string name = "name-" + std::to_string(i);
    make_file("/" + name);
    expected.insert(name);
  }
  expected.insert("lost+found");
  EXPECT_EQ(listing("/"), expected);
  EXPECT_EQ(code_of(fs().list("/name-1", [](const DirectoryEntry&) { return true; })), ENOTDIR);
}

TEST_F(Names, HardLinksShareAnInode) {
  make_file("/a", 5);
  fs().link("/a", "/b").value();
  EXPECT_EQ(inode("/a"), inode("/b"));
  EXPECT_EQ(links("/a"), 2U);
  fs().unlink("/a").value();
  EXPECT_EQ(links("/b"), 1U);
  EXPECT_EQ(fs().open("/b", Open::read).value().size(), 5U);
  fs().make_directory("/d").value();
  EXPECT_EQ(code_of(fs().link("/d", "/e")), EPERM);
  EXPECT_EQ(code_of(fs().link("/b", "/d")), EEXIST);
  EXPECT_EQ(code_of(fs().link("/none", "/e")), ENOENT);
}

TEST_F(Names, SymbolicLinksAreFollowedInsideThePool) {
  fs().make_directory("/d").value();
  make_file("/d/f", 7);
  fs().symlink("d", "/to-d").value();
  fs().symlink("/d/f", "/absolute").value();
  fs().symlink("../d/f", "/d/up").value();
  fs().symlink("nowhere", "/dangling").value();
  fs().symlink("loop", "/loop").value();
  EXPECT_EQ(fs().stat("/to-d/f").value().size, 7U);
  EXPECT_EQ(fs().stat("/absolute").value().size, 7U);
  EXPECT_EQ(fs().stat("/to-d/up").value().size, 7U);
  EXPECT_EQ(fs().stat("/absolute", Follow::no).value().kind, FileKind::symlink);
  EXPECT_EQ(fs().read_symlink("/d/up").value(), "../d/f");
  EXPECT_EQ(code_of(fs().read_symlink("/d")), EINVAL);
  EXPECT_EQ(code_of(fs().stat("/dangling")), ENOENT);
  EXPECT_EQ(code_of(fs().stat("/loop")), ELOOP);
  EXPECT_EQ(code_of(fs().open("/absolute", Open::read | Open::no_follow)), ELOOP);
  EXPECT_EQ(code_of(fs().symlink("", "/empty")), ENOENT);
  EXPECT_EQ(code_of(fs().symlink(std::string(4096, 't'), "/long")), ENAMETOOLONG);
  const std::string long_target(4000, 't');
  fs().symlink(long_target, "/slow").value();
  remount();
  EXPECT_EQ(fs().read_symlink("/slow").value(), long_target);
  EXPECT_EQ(fs().read_symlink("/absolute").value(), "/d/f");
}

TEST_F(Names, RenameReplacesKeepsOrExchanges) {
  make_file("/a", 1);
  make_file("/b", 2);
  const std::uint32_t a = inode("/a");
  const std::uint32_t b = inode("/b");
  EXPECT_EQ(code_of(fs().rename("/a", "/b", Rename::no_replace)), EEXIST);
  fs().rename("/a", "/b", Rename::exchange).value();
  EXPECT_EQ(inode("/a"), b);
  EXPECT_EQ(inode("/b"), a);
  fs().rename("/a", "/b").value();
  EXPECT_EQ(inode("/b"), b);
  EXPECT_FALSE(exists("/a"));
  fs().rename("/b", "/c", Rename::no_replace).value();
  EXPECT_EQ(inode("/c"), b);
  EXPECT_EQ(code_of(fs().rename("/none", "/d")), ENOENT);
  EXPECT_EQ(code_of(fs().rename("/c", "/d", Rename::exchange)), ENOENT);
  EXPECT_EQ(code_of(fs().rename("/", "/d")), EBUSY);
}

TEST_F(Names, RenameOfTwoNamesOfOneInodeLeavesBoth) {
  make_file("/a");
  fs().link("/a", "/b").value();
  fs().rename("/a", "/b").value();
  EXPECT_TRUE(exists("/a"));
  EXPECT_EQ(links("/b"), 2U);
}

TEST_F(Names, RenameMovesDirectoriesAndTheirParentsCount) {
  fs().make_directory("/from").value();
  fs().make_directory("/to").value();
  fs().make_directory("/from/d").value();
  make_file("/from/d/f");
  fs().rename("/from/d", "/to/e").value();
  EXPECT_EQ(links("/from"), 2U);
  EXPECT_EQ(links("/to"), 3U);
  EXPECT_EQ(inode("/to/e/.."), inode("/to"));
  EXPECT_TRUE(exists("/to/e/f"));
  fs().make_directory("/from/x").value();
  fs().rename("/from/x", "/to/e", Rename::exchange).value();
  EXPECT_EQ(inode("/from/x/.."), inode("/from"));
  EXPECT_TRUE(exists("/from/x/f"));
}

TEST_F(Names, RenameRefusesLoopsAndMismatches) {
  fs().make_directory("/d").value();
  fs().make_directory("/d/e").value();
  make_file("/f");
  EXPECT_EQ(code_of(fs().rename("/d", "/d/e/g")), EINVAL);
  EXPECT_EQ(code_of(fs().rename("/d", "/d/e")), EINVAL);
  EXPECT_EQ(code_of(fs().rename("/d/e", "/d")), ENOTEMPTY);
  EXPECT_EQ(code_of(fs().rename("/d", "/d/e", Rename::exchange)), EINVAL);
  EXPECT_EQ(code_of(fs().rename("/d/e", "/d", Rename::exchange)), EINVAL);
  EXPECT_EQ(code_of(fs().rename("/f", "/d")), EISDIR);
  EXPECT_EQ(code_of(fs().rename("/d", "/f")), ENOTDIR);
  EXPECT_EQ(code_of(fs().rename("/f", "/g/")), ENOTDIR);
  fs().make_directory("/empty").value();
  EXPECT_EQ(code_of(fs().rename("/empty", "/d")), ENOTEMPTY);
  fs().rename("/d", "/empty").value();
  EXPECT_TRUE(exists("/empty/e"));
}

TEST_F(Names, UnlinkedButOpenFilesLiveOn) {
  File file = make_file("/a", 100000, 'q');
  fs().unlink("/a").value();
  EXPECT_FALSE(exists("/a"));
  auto content = bytes(100000, 0);
  EXPECT_EQ(file.read(0, content).value(), content.size());
  EXPECT_EQ(content, bytes(100000, 'q'));
  EXPECT_EQ(file.append(bytes(10, 'r')).value(), 100000U);
  EXPECT_EQ(file.stat().value().links, 0U);
}

TEST_F(Names, UnnamedFilesAreLinkedInWhenWhole) {
  {
    File file = fs().open_unnamed(0640).value();
    EXPECT_EQ(file.write(0, bytes(5000, 'u')).value(), 5000U);
    fs().link_unnamed(file, "/whole").value();
    EXPECT_EQ(code_of(fs().link_unnamed(file, "/whole")), EEXIST);
    const File lost = fs().open_unnamed().value();
  }
  remount();
  EXPECT_EQ(fs().stat("/whole").value().size, 5000U);
  EXPECT_EQ(fs().stat("/whole").value().permissions, 0640U);
  EXPECT_EQ(links("/whole"), 1U);
}

TEST_F(Names, NodesKeepTheirNumbers) {
  fs().make_node("/fifo", {.kind = FileKind::fifo, .permissions = 0600}).value();
  fs().make_node("/socket", {.kind = FileKind::socket, .permissions = 0600}).value();
  fs().make_node("/char",
                 {.kind = FileKind::character_device, .permissions = 0600, .device_major = 5, .device_minor = 1})
      .value();
  fs().make_node("/block",
                 {.kind = FileKind::block_device, .permissions = 0600, .device_major = 259, .device_minor = 70000})
      .value();
  EXPECT_EQ(code_of(fs().make_node("/bad", {.kind = FileKind::directory})), EINVAL);
  EXPECT_EQ(code_of(fs().open("/fifo", Open::read)), ENXIO);
  remount();
  EXPECT_EQ(fs().stat("/fifo").value().kind, FileKind::fifo);
  EXPECT_EQ(fs().stat("/char").value().device_minor, 1U);
  EXPECT_EQ(fs().stat("/block").value().device_major, 259U);
  EXPECT_EQ(fs().stat("/block").value().device_minor, 70000U);
}

TEST_F(Names, AttributesAreKept) {
  make_file("/a");
  fs().set_permissions("/a", 04755).value();
  EXPECT_EQ(code_of(fs().set_permissions("/a", 0200000)), EINVAL);
  fs().set_times("/a", {1, 999999999}, {5000000000, 2}).value();
  EXPECT_EQ(code_of(fs().set_times("/a", {1, 1000000000}, {1, 0})), EINVAL);
  remount();
  Stat stat = fs().stat("/a").value();
  EXPECT_EQ(stat.permissions, 04755U);
  EXPECT_EQ(stat.accessed.nanoseconds, 999999999U);
  EXPECT_EQ(stat.modified.seconds, 5000000000);
  fs().set_times("/a", {-31536000, 5}, {-1, 6}).value();
  remount();
  stat = fs().stat("/a").value();
  EXPECT_EQ(stat.accessed.seconds, -31536000);
  EXPECT_EQ(stat.modified.seconds, -1);
  EXPECT_EQ(stat.modified.nanoseconds, 6U);
  fs().set_owner("/a", 70000, 80000).value();
  stat = fs().stat("/a").value();
  EXPECT_EQ(stat.uid, 70000U);
  EXPECT_EQ(stat.gid, 80000U);
  EXPECT_EQ(stat.permissions, 0755U);  // chown takes set-user-id away
}

TEST_F(Names, ExtendedAttributesAreSetReadAndRemoved) {
  make_file("/a");
  fs().set_attribute("/a", "user.small", "value").value();
  const std::string large(2000, 'v');
  fs().set_attribute("/a", "user.large", large).value();
  remount();
  EXPECT_EQ(fs().attribute("/a", "user.small").value(), "value");
  EXPECT_EQ(fs().attribute("/a", "user.large").value(), large);
  EXPECT_EQ(code_of(fs().attribute("/a", "user.none")), ENODATA);
  std::vector<std::string> names = fs().list_attributes("/a").value();
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"user.large", "user.small"}));
  fs().remove_attribute("/a", "user.small").value();
  EXPECT_EQ(code_of(fs().attribute("/a", "user.small")), ENODATA);
}

TEST_F(Names, AReadOnlyMountChangesNothing) {
  make_file("/a", 10);
  fs().unmount().value();
  {
    Filesystem reader = Filesystem::mount(Device::open_read_only(path()).value(), {.read_only = true}).value();
    EXPECT_TRUE(reader.read_only());
    EXPECT_EQ(reader.open("/a", Open::read).value().size(), 10U);
    EXPECT_EQ(code_of(reader.open("/a", Open::write)), EROFS);
    EXPECT_EQ(code_of(reader.unlink("/a")), EROFS);
    EXPECT_EQ(code_of(reader.make_directory("/d")), EROFS);
    EXPECT_EQ(code_of(reader.rename("/a", "/b")), EROFS);
    EXPECT_EQ(code_of(reader.set_permissions("/a", 0)), EROFS);
    reader.unmount().value();
  }
  make_pool({});
}

TEST_F(Names, UnmountWithoutADeadlineNeverWaits) {
  make_file("/a", 10);
  {
    const File file = fs().open("/a", Open::read).value();
    const Status refused = fs().unmount();
    EXPECT_EQ(code_of(refused), EBUSY);
    EXPECT_NE(refused.error().reason().find("/a"), std::string::npos) << refused.error().reason();
    EXPECT_EQ(file.size(), 10U);
  }
  fs().unmount().value();
  make_pool({});
}

TEST_F(Names, TwoPoolsDoNotMix) {
  Device other_device = Device::memory({.size = 16 * MiB}).value();
  format(other_device, {}).value();
  Filesystem other = Filesystem::mount(std::move(other_device)).value();
  const File file = other.open_unnamed().value();
  EXPECT_EQ(code_of(fs().link_unnamed(file, "/stranger")), EXDEV);
  const Filesystem::PinRange range{&file, 0, 4096};
  EXPECT_EQ(code_of(fs().pin_many({&range, 1})), EINVAL);
}

}  // namespace
}  // namespace holdfast::test
