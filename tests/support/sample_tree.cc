#include "support/sample_tree.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <random>
#include <vector>

#include "support/program.h"

namespace holdfast::test {
namespace {

std::string random_text(std::size_t bytes, unsigned seed) {
  std::mt19937 random(seed);
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

void set_times(const std::string& path, long modified_seconds, long nanoseconds) {
  const std::array<timespec, 2> times{timespec{modified_seconds - 5, nanoseconds / 2},
                                      timespec{modified_seconds, nanoseconds}};
  utimensat(AT_FDCWD, path.c_str(), times.data(), AT_SYMLINK_NOFOLLOW);
}

void make_sparse(const std::string& path) {
  const int fd = open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
  const std::string text = random_text(5000, 7);
  for (const off_t offset : {off_t{1} << 20, off_t{5} << 20, (off_t{9} << 20) + 123}) {
    if (pwrite(fd, text.data(), text.size(), offset) < 0) break;
  }
  static_cast<void>(ftruncate(fd, off_t{32} << 20));
  close(fd);
}

bool make_socket(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return false;
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool made = bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  close(fd);
  return made;
}

// user::rw-, user:12345:r--, group::r--, mask::r--, other::---, in the kernel's form.
std::string access_list() {
  struct Entry {
    std::uint16_t tag;
    std::uint16_t permissions;
    std::uint32_t id;
  };
  static constexpr std::array kEntries{Entry{0x01, 6, 0xFFFFFFFF}, Entry{0x02, 4, 12345}, Entry{0x04, 4, 0xFFFFFFFF},
                                       Entry{0x10, 4, 0xFFFFFFFF}, Entry{0x20, 0, 0xFFFFFFFF}};
  std::string list("\x02\0\0\0", 4);
  for (const Entry& entry : kEntries) {
    list.append(reinterpret_cast<const char*>(&entry), sizeof(entry));
  }
  return list;
}

}  // namespace

SampleTree make_sample_tree(const std::string& top) {
  namespace fs = std::filesystem;
  SampleTree sample;
  fs::create_directories(top + "/deep/er/still");
  fs::create_directory(top + "/empty");
  fs::create_directory(top + "/read-only");
  fs::create_directory(top + "/shared");
  sample.directories = 7;
  const std::vector<std::size_t> sizes{0, 1, 4095, 4096, 4097, 65536, 524288, 524289, 3000000};
  for (const std::size_t size : sizes) {
    write_file(top + "/file-" + std::to_string(size), random_text(size, static_cast<unsigned>(size)));
  }
  sample.files = static_cast<unsigned>(sizes.size());
  make_sparse(top + "/sparse");
  static_cast<void>(truncate((write_file(top + "/all-hole", ""), top + "/all-hole").c_str(), off_t{7} << 20));
  write_file(top + "/deep/er/still/leaf", "leaf\n");
  write_file(top + "/read-only/inside", "inside\n");
  write_file(top + "/first-name", "one file, three names\n");
  sample.files += 5;
  fs::create_hard_link(top + "/first-name", top + "/second-name");
  fs::create_hard_link(top + "/first-name", top + "/deep/third-name");
  fs::create_symlink("file-4096", top + "/link");
  fs::create_symlink("../no/such/place", top + "/dangling");
  fs::create_symlink(std::string(300, 'x'), top + "/long-link");
  fs::create_symlink("deep", top + "/link-to-directory");
  for (const char* name : {"with space", "new\nline", "-dash", "\xff\xfe not text", "ünïcödé", "[brackets]", "star*"}) {
    write_file(top + "/" + name, name);
    ++sample.files;
  }
  mkfifo((top + "/fifo").c_str(), 0640);
  make_socket(top + "/socket");
  sample.devices = mknod((top + "/null").c_str(), S_IFCHR | 0666, makedev(1, 3)) == 0 &&
                   mknod((top + "/block").c_str(), S_IFBLK | 0600, makedev(259, 70000)) == 0;
  if (geteuid() == 0) {
    static_cast<void>(chown((top + "/file-1").c_str(), 12345, 54321));
    static_cast<void>(lchown((top + "/link").c_str(), 777, 888));
    static_cast<void>(chown((top + "/shared").c_str(), 0, 999));
  }
  sample.user_attributes =
      setxattr((top + "/file-4096").c_str(), "user.colour", "deep\0blue", 9, 0) == 0 &&
      setxattr((top + "/file-4096").c_str(), "user.empty", "", 0, 0) == 0 &&
      setxattr((top + "/deep").c_str(), "user.of-directory", std::string(900, 'v').c_str(), 900, 0) == 0;
  const std::string list = access_list();
  sample.access_lists =
      setxattr((top + "/file-4097").c_str(), "system.posix_acl_access", list.data(), list.size(), 0) == 0 &&
      setxattr((top + "/shared").c_str(), "system.posix_acl_default", list.data(), list.size(), 0) == 0;
  chmod((top + "/file-1").c_str(), 06755);
  chmod((top + "/file-4095").c_str(), 0);
  chmod((top + "/shared").c_str(), 03775);
  chmod((top + "/empty").c_str(), 0700);
  set_times(top + "/file-0", 1, 1);
  set_times(top + "/file-1", -86400L * 365, 999999999);
  set_times(top + "/file-4096", 4102444800L, 123456789);
  set_times(top + "/link", 1234567890, 987654321);
  set_times(top + "/fifo", 1500000000, 5);
  set_times(top + "/deep/er", 1600000000, 600000001);
  chmod((top + "/read-only").c_str(), 0555);
  set_times(top + "/read-only", 1000000000, 77);
  set_times(top, 1100000000, 1);
  return sample;
}

void open_up(const std::string& top) { shell("chmod -R u+rwX '" + top + "'"); }

}  // namespace holdfast::test
