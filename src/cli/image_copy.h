// The bytes of a pool to a file and back, zeros left out.
//
// No byte of a pool is touched by an instruction of ours: the kernel copies, so that memory which cannot be read, or of
// which there is no more, is an error and never a signal.
#pragma once

#include <cstdint>
#include <string>

#include <holdfast/error.h>

#include "cli/progress.h"

namespace holdfast::cli {

struct ImageCopied {
  std::uint64_t size = 0;     // of the image
  std::uint64_t written = 0;  // bytes of blocks that hold something
};

// EEXIST: `file` is there, and not `force`. On failure nothing is left behind.
Result<ImageCopied> export_image(const std::string& pool, const std::string& file, bool force, Progress& progress);

// Errors of `file`: as of mounting it. EEXIST: `pool` is not empty, and not `force`. ENOSPC: `pool` is too small. A
// failure in the middle leaves a `pool` that no longer is an image; a file that was made here is removed.
Result<ImageCopied> import_image(const std::string& file, const std::string& pool, bool force, Progress& progress);

}  // namespace holdfast::cli
