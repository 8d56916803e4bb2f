// Paths inside a pool, as text. Nothing here looks into a pool.
#pragma once

#include <string>
#include <string_view>

namespace holdfast::cli {

// UsageError when a path inside a pool is not absolute.
void require_absolute(const std::string& path);

// "/a" and "b": "/a/b". "/" and "b": "/b".
std::string join(std::string_view directory, std::string_view name);

// Without trailing slashes; "/" stays.
std::string without_trailing_slashes(std::string_view path);

bool has_trailing_slash(std::string_view path);

// The last component, without trailing slashes: "b" of "/a/b/". "/" of "/".
std::string last_name(std::string_view path);

// What the last component is in: "/a" of "/a/b", "/" of "/b" and of "/", "." of "b".
std::string parent_of(std::string_view path);

// Whether a directory may hold the name: not empty, no slash, no zero byte, neither "." nor "..".
bool is_sound_name(std::string_view name);

// Whether the last component is "." or "..".
bool ends_in_dots(std::string_view path);

}  // namespace holdfast::cli
