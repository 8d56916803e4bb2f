#include "cli/transfer.h"

#include <fmt/format.h>

#include <cerrno>

#include "base/result.h"
#include "cli/path.h"
#include "cli/show.h"
#include "cli/size.h"

namespace holdfast::cli {
namespace {

std::string rate_text(std::uint64_t bytes, double seconds) {
  if (seconds <= 0) return "-";
  return human_size(static_cast<std::uint64_t>(static_cast<double>(bytes) / seconds)) + "B/s";
}

Json as_json(const TransferReport& report) {
  const CopyCounts& counts = report.counts;
  Json json;
  json["files"] = counts.files;
  json["directories"] = counts.directories;
  json["symlinks"] = counts.symlinks;
  json["nodes"] = counts.nodes;
  json["hard_links"] = counts.hard_links;
  json["bytes"] = counts.bytes;
  json["seconds"] = report.copy_seconds;
  json["failures"] = counts.failures;
  json["skipped"] = counts.skipped;
  json["attributes_lost"] = report.attributes_lost;
  if (report.verified) {
    json["verified"] = {{"files", report.compared_files},
                        {"bytes", report.compared_bytes},
                        {"differences", report.differences},
                        {"seconds", report.verify_seconds}};
  }
  return json;
}

}  // namespace

Result<std::vector<Route>> find_routes(const Tree& from, const std::vector<std::string>& sources, const Tree& to,
                                       const std::string& dest) {
  const Result<Node> there = to.look_following(dest);
  const bool directory = there && there->kind == FileKind::directory;
  if (!there && there.error().code() != ENOENT) return there.error();
  if (sources.size() > 1 && !directory) {
    return Error(ENOTDIR, to.describe(dest), there ? "is not a directory" : "there is no such directory",
                 "several sources go into a directory");
  }
  if (!directory && has_trailing_slash(dest)) {
    const Result<Node> source = from.look(sources[0]);
    if (there || (source && source->kind != FileKind::directory)) {
      return Error(ENOTDIR, to.describe(dest), there ? "is not a directory" : "there is no such directory");
    }
  }
  std::vector<Route> routes;
  for (const std::string& source : sources) {
    const std::string bare = without_trailing_slashes(dest);
    // What "/", "." and ".." hold goes right into the directory: they have no name to go under. The slash at the end
    // leads through a symbolic link that DEST may be.
    const bool nameless = last_name(source) == "/" || ends_in_dots(source);
    routes.push_back({source, !directory ? bare : join(bare, nameless ? "" : last_name(source))});
  }
  return routes;
}

void copy_routes(const Tree& from, Tree& to, const std::vector<Route>& routes, const TransferOptions& options, Io& io,
                 std::optional<Identity> pool_file, TransferReport& report) {
  Progress progress(io, options.quiet);
  if (progress.shown()) {
    std::vector<std::string> sources;
    for (const Route& route : routes) sources.push_back(route.source);
    const Expected expected = measure(from, sources);
    progress.expect(expected.bytes, expected.files);
  }
  Copier copier(from, to, progress, io, pool_file);
  for (const Route& route : routes) {
    if (!copier.stopped()) copier.copy(route.source, route.dest);
  }
  report.counts = copier.counts();
  report.attributes_lost = copier.attributes_lost();
  report.copy_seconds = progress.elapsed().count();
}

void verify_routes(const Tree& from, const Tree& to, const std::vector<Route>& routes, const TransferOptions& options,
                   const CompareOptions& compare, Io& io, TransferReport& report) {
  Progress progress(io, options.quiet);
  progress.expect(report.counts.bytes, report.counts.files);
  Comparer comparer(from, to, compare, progress, io);
  for (const Route& route : routes) comparer.compare(route.source, route.dest);
  report.verified = true;
  report.compared_files = comparer.files();
  report.compared_bytes = comparer.bytes();
  report.differences = comparer.differences();
  report.verify_seconds = progress.elapsed().count();
}

int summarize(const TransferReport& report, const TransferOptions& options, Io& io) {
  const CopyCounts& counts = report.counts;
  const bool well = counts.failures == 0 && report.differences == 0;
  if (options.json) {
    print_json(io, as_json(report));
  } else if (!options.quiet) {
    io.out << fmt::format("{}, {}, {} in {}, {}", counted(counts.files, "file", "files"),
                          counted(counts.directories, "directory", "directories"), human_size(counts.bytes) + "B",
                          duration_text(std::chrono::duration<double>(report.copy_seconds)),
                          rate_text(counts.bytes, report.copy_seconds));
    if (counts.failures != 0) io.out << "; " << counted(counts.failures, "failure", "failures");
    if (report.attributes_lost != 0) {
      io.out << "; " << counted(report.attributes_lost, "attribute", "attributes") << " not kept";
    }
    if (report.verified) {
      io.out << fmt::format(
          "; compared {} in {}: {}", human_size(report.compared_bytes) + "B",
          duration_text(std::chrono::duration<double>(report.verify_seconds)),
          report.differences == 0 ? "the same" : counted(report.differences, "difference", "differences"));
    }
    io.out << '\n';
  }
  return well ? kDone : kFailed;
}

}  // namespace holdfast::cli
