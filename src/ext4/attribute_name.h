// Names of extended attributes: on the medium a name is the number of its prefix and the rest.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace holdfast::ext4 {

enum class AttributePrefix : std::uint8_t {
  user = 1,
  acl_access = 2,  // whole names: nothing follows
  acl_default = 3,
  trusted = 4,
  security = 6,
  system = 7,
};

struct AttributeName {
  AttributePrefix prefix = AttributePrefix::user;
  std::string rest;

  bool is_acl() const { return prefix == AttributePrefix::acl_access || prefix == AttributePrefix::acl_default; }
  bool operator==(const AttributeName& other) const = default;
};

// EOPNOTSUPP: no such prefix. EINVAL: nothing follows it. ERANGE: longer than 255 bytes.
Result<AttributeName> parse_attribute_name(std::string_view name);
// Nothing when the prefix is one that we have no word for.
std::optional<std::string> attribute_full_name(std::uint8_t prefix, std::string_view rest);

}  // namespace holdfast::ext4
