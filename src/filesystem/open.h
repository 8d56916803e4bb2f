// Opening files by path, and without one.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "filesystem/core.h"

namespace holdfast::filesystem {

struct OpenMode {
  bool read = true;
  bool write = false;
  bool create = false;
  bool exclusive = false;
  bool truncate = false;
  bool no_follow = false;
  Durable durable = Durable::when_synced;
  std::uint32_t permissions = 0644;
};

// ENOENT, EEXIST (exclusive), EISDIR (a directory for writing), ELOOP (no_follow), ENXIO (fifo, socket and device
// nodes have no bytes here), EINVAL (neither read nor write), ETXTBSY never. Blocks only where `truncate` breaks pins.
Result<std::shared_ptr<OpenFile>> open(const std::shared_ptr<Core>& core, std::string_view path, const OpenMode& mode);

Result<std::shared_ptr<OpenFile>> open_unnamed(const std::shared_ptr<Core>& core, std::uint32_t permissions);

}  // namespace holdfast::filesystem
