// A pool for the length of one command.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <holdfast/filesystem.h>

#include "cli/io.h"

namespace holdfast::cli {

// Mounted read-only, shared with other readers. Nothing of the pool changes, not a byte.
Result<Filesystem> mount_to_read(const std::string& pool);

// Mounted for this process alone. EBUSY names the pid that has it.
Result<Filesystem> mount_to_write(const std::string& pool);

using Work = std::function<int(Filesystem&)>;

// Mounts, works, closes. The exit code is the work's, or kFailed when mounting or closing failed.
int read_pool(const std::string& pool, Io& io, const Work& work);
int write_pool(const std::string& pool, Io& io, const Work& work);

// Runs `one` for each path, complains about each that fails and goes on. kFailed when any did.
int each_path(const std::vector<std::string>& paths, Io& io, const std::function<Status(const std::string&)>& one);

// Names and kinds of a directory's entries, sorted by bytes.
Result<std::vector<DirectoryEntry>> sorted_entries(const Filesystem& fs, const std::string& directory);

}  // namespace holdfast::cli
