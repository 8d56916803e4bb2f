#include "cli/pool.h"

#include <algorithm>
#include <utility>

#include "base/result.h"
#include "cli/interrupt.h"

namespace holdfast::cli {
namespace {

int use(Result<Filesystem> mounted, Io& io, const Work& work) {
  if (!mounted) return complain(io, mounted.error());
  Filesystem fs = std::move(mounted).value();
  const int code = work(fs);
  if (const Status closed = fs.unmount(); !closed) return std::max(code, complain(io, closed.error()));
  return code;
}

}  // namespace

Result<Filesystem> mount_to_read(const std::string& pool) {
  HF_ASSIGN(Device device, Device::open_read_only(pool));
  return Filesystem::mount(std::move(device), {.read_only = true});
}

Result<Filesystem> mount_to_write(const std::string& pool) {
  HF_ASSIGN(Device device, Device::open(pool));
  return Filesystem::mount(std::move(device));
}

int read_pool(const std::string& pool, Io& io, const Work& work) { return use(mount_to_read(pool), io, work); }

int write_pool(const std::string& pool, Io& io, const Work& work) { return use(mount_to_write(pool), io, work); }

int each_path(const std::vector<std::string>& paths, Io& io, const std::function<Status(const std::string&)>& one) {
  int code = kDone;
  for (const std::string& path : paths) {
    if (const Status go_on = check_interrupt(); !go_on) return complain(io, go_on.error());
    code = std::max(code, outcome(io, one(path)));
  }
  return code;
}

Result<std::vector<DirectoryEntry>> sorted_entries(const Filesystem& fs, const std::string& directory) {
  std::vector<DirectoryEntry> entries;
  HF_TRY(fs.list(directory, [&entries](const DirectoryEntry& entry) {
    entries.push_back(entry);
    return true;
  }));
  std::sort(entries.begin(), entries.end(),
            [](const DirectoryEntry& a, const DirectoryEntry& b) { return a.name < b.name; });
  return entries;
}

}  // namespace holdfast::cli
