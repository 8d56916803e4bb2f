// Users and groups by name and number. Names are the host's; a pool holds numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace holdfast::cli {

struct OwnerChange {
  std::optional<std::uint32_t> uid;  // nothing: stays
  std::optional<std::uint32_t> gid;
};

// "USER", "USER:GROUP", ":GROUP", "USER:" (the user's login group), names or numbers, as chown(1). UsageError naming
// the user or group that there is not.
OwnerChange parse_owner(const std::string& text);

// The name, or the number as text. Remembered for the life of the process.
std::string user_name(std::uint32_t uid);
std::string group_name(std::uint32_t gid);

}  // namespace holdfast::cli
