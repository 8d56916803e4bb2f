#include "cli/path.h"

#include <fmt/format.h>

#include "cli/command.h"

namespace holdfast::cli {

void require_absolute(const std::string& path) {
  if (path.empty() || path[0] != '/') {
    throw UsageError{fmt::format("'{}' is not absolute: paths inside a pool begin with /", path)};
  }
}

std::string join(std::string_view directory, std::string_view name) {
  std::string path(directory);
  if (path.empty() || path.back() != '/') path += '/';
  return path += name;
}

std::string without_trailing_slashes(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  return std::string(path);
}

bool has_trailing_slash(std::string_view path) { return path.size() > 1 && path.back() == '/'; }

std::string last_name(std::string_view path) {
  const std::string bare = without_trailing_slashes(path);
  return bare == "/" ? bare : bare.substr(bare.rfind('/') + 1);
}

std::string parent_of(std::string_view path) {
  const std::string bare = without_trailing_slashes(path);
  const std::size_t slash = bare.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : without_trailing_slashes(bare.substr(0, slash));
}

bool is_sound_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

bool ends_in_dots(std::string_view path) {
  const std::string name = last_name(path);
  return name == "." || name == "..";
}

}  // namespace holdfast::cli
