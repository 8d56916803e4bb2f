// The contents of one file into another, holes staying holes.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "cli/progress.h"
#include "cli/tree.h"

namespace holdfast::cli {

// A piece is read and written at a time; it fits the processor's cache, so that the second copy is cheap.
inline constexpr std::size_t kPieceBytes = 512 * 1024;

// Returns the bytes that were written. EAGAIN: the source changed while it was read, what was written is worth nothing.
// Errors of the source speak of it, errors of the new file of `to_name`.
Result<std::uint64_t> copy_bytes(const SourceFile& from, const std::string& from_name, NewFile& to,
                                 const std::string& to_name, std::span<std::byte> piece, Progress& progress);

}  // namespace holdfast::cli
