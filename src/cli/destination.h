// Where mv and ln put things: into DEST when it is a directory, else under the name DEST.
#pragma once

#include <string>

#include <holdfast/filesystem.h>

#include "cli/command.h"

namespace holdfast::cli {

struct Destination {
  std::string path;
  bool directory = false;  // things go into it, under their own names

  // Where a source with this path goes.
  std::string of(const std::string& source) const;
};

// `several` sources need a directory: ENOTDIR. `plain`: DEST is a name, whatever it is.
Result<Destination> find_destination(const Filesystem& fs, const std::string& path, bool several, bool plain);

}  // namespace holdfast::cli
