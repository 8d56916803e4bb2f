// rename: a name moves, replaces another, or changes places with it; at every moment both names mean something.
//
// Locks: the rename lock when two directories take part, then the parents (the ancestor first), then the children.
#pragma once

#include <cstdint>
#include <string_view>

#include "filesystem/core.h"

namespace holdfast::filesystem {

enum class RenameMode : std::uint8_t { replace, no_replace, exchange };

// What the new name meant before loses that name as unlink would take it: at once, whatever holds it.
// EEXIST (no_replace), ENOENT, EINVAL (a directory into itself), ENOTEMPTY, EISDIR, ENOTDIR, EMLINK, EBUSY ("/").
Status rename(Core& core, std::string_view from, std::string_view to, RenameMode mode);

}  // namespace holdfast::filesystem
