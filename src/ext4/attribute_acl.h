// POSIX access control lists: what the system call gives and takes (version 2, every entry with an id), and what lies
// on the medium (version 1, ids only where they say something).
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace holdfast::ext4 {

// EINVAL: not an access control list. EOPNOTSUPP: another version. A list without entries gives an empty string.
Result<std::string> acl_to_medium(std::string_view value);
// EINVAL: what lies on the medium is not an access control list.
Result<std::string> acl_from_medium(std::string_view stored);

}  // namespace holdfast::ext4
