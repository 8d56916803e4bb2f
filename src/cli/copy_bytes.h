// The contents of one file into another, holes staying holes.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include <holdfast/types.h>

#include "cli/progress.h"
#include "cli/tree.h"

namespace holdfast::cli {

// A piece is read and written at a time: a unit of 2 MiB, so that it is allocated in one write and can be mapped as
// one.
inline constexpr std::size_t kPieceBytes = 2 * MiB;

// Reads until `into` is full or the file ends; the bytes read.
Result<std::size_t> read_whole(const SourceFile& file, std::uint64_t offset, std::span<std::byte> into);

// Returns the bytes that were written. EAGAIN: the source changed while it was read, what was written is worth nothing.
// Errors of the source speak of it, errors of the new file of `to_name`.
Result<std::uint64_t> copy_bytes(const SourceFile& from, const std::string& from_name, NewFile& to,
                                 const std::string& to_name, std::span<std::byte> piece, Progress& progress);

}  // namespace holdfast::cli
