// Every name below a place in a pool, parents before what is in them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_set>

#include <holdfast/filesystem.h>

#include "cli/io.h"

namespace holdfast::cli {

enum class Visit { go_on, skip };  // skip: what is in this directory is not visited

// Directories have one name each; in a damaged pool they may have more, and lead in circles.
class DirectoriesMet {
 public:
  // EUCLEAN when the directory was met before.
  Status meet(std::uint32_t inode, const std::string& path);

 private:
  std::unordered_set<std::uint32_t> inodes_;
};

using Visitor = std::function<Visit(const std::string& path, const Stat& stat)>;

// Visits `path` and, below directories, everything in them, sorted; symbolic links are not followed. A name that cannot
// be looked at is complained about and passed over. Returns kFailed when there was one, or when interrupted.
int walk_tree(const Filesystem& fs, const std::string& path, Io& io, const Visitor& visit);

}  // namespace holdfast::cli
