#include "ext4/attribute_name.h"

#include <cerrno>

namespace holdfast::ext4 {

namespace {

struct PrefixWord {
  AttributePrefix prefix;
  std::string_view word;
};

constexpr std::size_t kNameBytesMax = 255;

// Whole names stand before the prefix they begin with.
constexpr PrefixWord kWords[] = {
    {AttributePrefix::user, "user."},
    {AttributePrefix::acl_access, "system.posix_acl_access"},
    {AttributePrefix::acl_default, "system.posix_acl_default"},
    {AttributePrefix::trusted, "trusted."},
    {AttributePrefix::security, "security."},
    {AttributePrefix::system, "system."},
};

}  // namespace

Result<AttributeName> parse_attribute_name(std::string_view name) {
  if (name.size() > kNameBytesMax) return Error(ERANGE, std::string(name), "a name has at most 255 bytes");
  for (const PrefixWord& word : kWords) {
    if (name.substr(0, word.word.size()) != word.word) continue;
    AttributeName parsed{word.prefix, std::string(name.substr(word.word.size()))};
    if (parsed.is_acl() && !parsed.rest.empty()) continue;
    if (!parsed.is_acl() && (parsed.rest.empty() || parsed.rest.find('\0') != std::string::npos)) {
      return Error(EINVAL, std::string(name), "not the name of an extended attribute");
    }
    return parsed;
  }
  return Error(EOPNOTSUPP, std::string(name), "names begin with user., trusted., security. or system.");
}

std::optional<std::string> attribute_full_name(std::uint8_t prefix, std::string_view rest) {
  for (const PrefixWord& word : kWords) {
    if (static_cast<std::uint8_t>(word.prefix) == prefix) return std::string(word.word) + std::string(rest);
  }
  return std::nullopt;
}

}  // namespace holdfast::ext4
