#include "cli/owner.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>

#include <charconv>
#include <limits>
#include <map>

#include "cli/command.h"

namespace holdfast::cli {
namespace {

// (uid_t)-1 means "leave as it is" to system calls and is nobody's number.
std::optional<std::uint32_t> parse_id(const std::string& text) {
  std::uint32_t id = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, id);
  if (text.empty() || error != std::errc() || stop != end) return std::nullopt;
  if (id == std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
  return id;
}

}  // namespace

OwnerChange parse_owner(const std::string& text) {
  OwnerChange change;
  const std::size_t colon = text.find(':');
  const std::string user = text.substr(0, colon);
  const bool names_group = colon != std::string::npos;
  const std::string group = names_group ? text.substr(colon + 1) : std::string();
  std::optional<std::uint32_t> login_group;
  if (!user.empty()) {
    if (const passwd* const entry = getpwnam(user.c_str())) {
      change.uid = entry->pw_uid;
      login_group = entry->pw_gid;
    } else {
      change.uid = parse_id(user);
    }
    if (!change.uid) throw UsageError{fmt::format("there is no user '{}'", user)};
  }
  if (!group.empty()) {
    const struct group* const entry = getgrnam(group.c_str());
    change.gid = entry != nullptr ? std::optional<std::uint32_t>(entry->gr_gid) : parse_id(group);
    if (!change.gid) throw UsageError{fmt::format("there is no group '{}'", group)};
  } else if (names_group && !user.empty()) {
    if (!login_group) throw UsageError{fmt::format("'{}' names no login group: name the group", text)};
    change.gid = login_group;
  }
  return change;
}

std::string user_name(std::uint32_t uid) {
  static std::map<std::uint32_t, std::string> known;
  auto [place, added] = known.try_emplace(uid);
  if (added) {
    const passwd* const entry = getpwuid(uid);
    place->second = entry != nullptr ? entry->pw_name : fmt::format("{}", uid);
  }
  return place->second;
}

std::string group_name(std::uint32_t gid) {
  static std::map<std::uint32_t, std::string> known;
  auto [place, added] = known.try_emplace(gid);
  if (added) {
    const struct group* const entry = getgrgid(gid);
    place->second = entry != nullptr ? entry->gr_name : fmt::format("{}", gid);
  }
  return place->second;
}

}  // namespace holdfast::cli
