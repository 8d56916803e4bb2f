// Looks at everything in a mounted pool and tells what does not fit together.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <holdfast/filesystem.h>

namespace holdfast::cli {

struct CheckReport {
  std::uint64_t files = 0;
  std::uint64_t directories = 0;
  std::uint64_t symlinks = 0;
  std::uint64_t nodes = 0;
  std::uint64_t names = 0;
  std::uint64_t extents = 0;
  std::uint64_t extent_bytes = 0;
  std::uint64_t bytes_read = 0;
  std::vector<std::string> problems;  // "inode 12: what is wrong", "/path: what is wrong"
  std::uint64_t problems_untold = 0;  // beyond the first thousand
  std::optional<Error> unverified;    // why only the tree was looked at
};

// Filesystem::verify, and then the tree, by name, as a program sees it:
//   - every directory can be listed, names are sound and each is there once, a directory is found in one place;
//   - every inode can be read and is of the kind that its name says;
//   - link counts are the names found;
//   - extents lie in order, on the device, and no block is in two of them;
//   - symbolic links and extended attributes can be read; with `read_data` every byte of every file.
// Precondition: a mount for reading.
CheckReport check_pool(Filesystem& fs, bool read_data);

}  // namespace holdfast::cli
