#include "support/scratch.h"

#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <system_error>

namespace holdfast::test {
namespace {

std::string temporary_parent() {
  const char* parent = std::getenv("TMPDIR");
  return parent != nullptr && *parent != '\0' ? parent : "/tmp";
}

bool is_in_memory(const std::string& path) {
  struct statfs file_system {};
  if (statfs(path.c_str(), &file_system) != 0) return false;
  return file_system.f_type == TMPFS_MAGIC || file_system.f_type == RAMFS_MAGIC;
}

bool is_writable(const std::string& path) { return access(path.c_str(), W_OK | X_OK) == 0; }

}  // namespace

ScratchDirectory::ScratchDirectory() : ScratchDirectory(temporary_parent()) {}

ScratchDirectory::ScratchDirectory(const std::string& parent) : path_(parent + "/holdfast-test.XXXXXX") {
  if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error("no scratch directory in " + parent);
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string tmpfs_parent() {
  for (const std::string& path : {std::string("/dev/shm"), temporary_parent()}) {
    if (is_in_memory(path) && is_writable(path)) return path;
  }
  return {};
}

std::string disk_parent() {
  for (const std::string& path : {temporary_parent(), std::string("/tmp"), std::string("/var/tmp")}) {
    if (!is_in_memory(path) && is_writable(path)) return path;
  }
  return {};
}

}  // namespace holdfast::test
