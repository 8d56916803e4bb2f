#include "cli/bench_support.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/result.h"

namespace holdfast::cli::bench {

Sample sample_of(std::vector<double>& nanoseconds) {
  if (nanoseconds.empty()) return {};
  std::sort(nanoseconds.begin(), nanoseconds.end());
  return {nanoseconds[nanoseconds.size() / 2], nanoseconds[nanoseconds.size() * 99 / 100]};
}

Result<Filesystem> memory_pool(std::uint64_t size, PageSize page_size) {
  HF_ASSIGN(Device device, Device::memory({.size = size, .page_size = page_size}));
  HF_TRY(format(device, {}));
  return Filesystem::mount(std::move(device));
}

std::uint64_t resident_bytes() {
  std::ifstream rollup("/proc/self/smaps_rollup");
  std::string word;
  while (rollup >> word && word != "Rss:") {
  }
  std::uint64_t kib = 0;
  rollup >> kib;
  return kib * KiB;
}

Error system_error(const std::string& object) { return Error(errno, object, ""); }

Result<TemporaryDirectory> TemporaryDirectory::make(const std::string& base) {
  std::string path = base + "/holdfast-bench-XXXXXX";
  if (mkdtemp(path.data()) == nullptr) return system_error(path);
  return TemporaryDirectory(std::move(path));
}

TemporaryDirectory::~TemporaryDirectory() {
  if (path_.empty()) return;
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) close(fd_);
}

Result<FileDescriptor> open_file(const std::string& path, int flags) {
  FileDescriptor file(open(path.c_str(), flags | O_CLOEXEC, 0600));
  if (file.get() < 0) return system_error(path);
  return file;
}

Status run_program(const std::vector<std::string>& arguments) {
  std::vector<char*> words;
  for (const std::string& word : arguments) words.push_back(const_cast<char*>(word.c_str()));  // NOLINT: argv
  words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  const int failed = posix_spawnp(&child, words[0], &actions, nullptr, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return Error(failed, arguments[0], "");
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return system_error(arguments[0]);
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return Error(EIO, arguments[0], fmt::format("ended with status {}", WIFEXITED(status) ? WEXITSTATUS(status) : 128));
}

Result<MountPoint> MountPoint::mount(const std::vector<std::string>& arguments, const std::string& directory) {
  if (geteuid() != 0) return Error(EPERM, directory, "mounting needs root");
  std::error_code failed;
  std::filesystem::create_directories(directory, failed);
  std::vector<std::string> words{"mount"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  words.push_back(directory);
  HF_TRY(run_program(words));
  return MountPoint(directory);
}

MountPoint::~MountPoint() {
  if (!directory_.empty()) umount2(directory_.c_str(), MNT_DETACH);
}

}  // namespace holdfast::cli::bench
