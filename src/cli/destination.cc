#include "cli/destination.h"

#include <cerrno>

#include "cli/path.h"

namespace holdfast::cli {

std::string Destination::of(const std::string& source) const {
  return directory ? join(path, last_name(source)) : path;
}

Result<Destination> find_destination(const Filesystem& fs, const std::string& path, bool several, bool plain) {
  if (plain && !several) return Destination{path, false};
  const Result<Stat> stat = fs.stat(path);
  if (!stat && stat.error().code() != ENOENT) return stat.error();
  if (stat && stat->kind == FileKind::directory) return Destination{path, true};
  if (several) {
    return stat ? Error(ENOTDIR, path, "is not a directory", "several sources go into a directory") : stat.error();
  }
  if (stat && has_trailing_slash(path)) return Error(ENOTDIR, path, "is not a directory");
  return Destination{path, false};
}

}  // namespace holdfast::cli
