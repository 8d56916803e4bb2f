// What put and get have in common: where things go, the copying, the comparing, the summary.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/compare.h"
#include "cli/copier.h"
#include "cli/io.h"
#include "cli/tree.h"

namespace holdfast::cli {

struct TransferOptions {
  bool verify = false;
  bool quiet = false;
  bool json = false;
};

// One source and the name its copy gets.
struct Route {
  std::string source;
  std::string dest;
};

// Where each source goes: into `dest` when that is a directory, else, when there is one source, to the name `dest`.
// ENOTDIR: several sources, or a file and a trailing slash.
Result<std::vector<Route>> find_routes(const Tree& from, const std::vector<std::string>& sources, const Tree& to,
                                       const std::string& dest);

struct TransferReport {
  CopyCounts counts;
  std::uint64_t attributes_lost = 0;
  double copy_seconds = 0;
  bool verified = false;
  std::uint64_t compared_files = 0;
  std::uint64_t compared_bytes = 0;
  std::uint64_t differences = 0;
  double verify_seconds = 0;
};

// Copies all routes. `pool_file` as in Copier.
void copy_routes(const Tree& from, Tree& to, const std::vector<Route>& routes, const TransferOptions& options, Io& io,
                 std::optional<Identity> pool_file, TransferReport& report);

// Compares what was copied.
void verify_routes(const Tree& from, const Tree& to, const std::vector<Route>& routes, const TransferOptions& options,
                   const CompareOptions& compare, Io& io, TransferReport& report);

// The summary on io.out, as a line or as JSON. Returns the exit code.
int summarize(const TransferReport& report, const TransferOptions& options, Io& io);

}  // namespace holdfast::cli
