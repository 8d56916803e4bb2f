#include "cli/checker.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <unordered_map>

#include "base/result.h"
#include "cli/interrupt.h"
#include "cli/mode.h"
#include "cli/path.h"
#include "cli/pool.h"

namespace holdfast::cli {
namespace {

constexpr std::size_t kProblemsMax = 1000;
constexpr std::size_t kPiece = MiB;
constexpr std::uint32_t kRootInode = 2;
// A directory with more subdirectories than its count can say has the count 1.
constexpr std::uint32_t kLinksUncounted = 1;

struct Seen {
  std::string path;  // where it was found first
  FileKind kind = FileKind::regular;
  std::uint32_t links = 0;  // what the inode says
  std::uint64_t names = 0;  // what was found
  std::uint64_t subdirectories = 0;
};

struct Run {
  std::uint64_t begin = 0;  // on the device
  std::uint64_t end = 0;
  std::uint32_t inode = 0;
};

class Checker {
 public:
  Checker(Filesystem& fs, bool read_data) : fs_(fs), read_data_(read_data) {}

  CheckReport run() {
    verify();
    if (!interrupted()) check_tree();
    return std::move(report_);
  }

 private:
  void verify() {
    Result<VerifyReport> verified = fs_.verify([](std::uint64_t, std::uint64_t) { return !interrupted(); });
    if (verified) {
      report_.problems = std::move(verified->problems);
      report_.problems_untold = verified->problems_untold;
    } else {
      report_.unverified = verified.error();
    }
  }

  void check_tree() {
    const Result<Stat> root = fs_.stat("/", Follow::no);
    if (!root) {
      problem("/", root.error());
      return;
    }
    if (root->kind != FileKind::directory) {
      problem("/", "the root is not a directory");
      return;
    }
    meet("/", *root);
    std::vector<std::pair<std::string, std::uint32_t>> pending{{"/", root->inode}};
    while (!pending.empty() && !interrupted()) {
      const auto [path, inode] = std::move(pending.back());
      pending.pop_back();
      check_directory(path, inode, pending);
    }
    if (interrupted()) return;
    check_links();
    check_overlaps();
  }

  void problem(const std::string& path, const std::string& what) {
    if (report_.problems.size() < kProblemsMax) {
      report_.problems.push_back(path + ": " + what);
    } else {
      ++report_.problems_untold;
    }
  }
  void problem(const std::string& path, const Error& error) {
    problem(path, Error(error.code(), "", error.reason()).message());
  }

  void check_directory(const std::string& path, std::uint32_t inode,
                       std::vector<std::pair<std::string, std::uint32_t>>& pending) {
    const Result<std::vector<DirectoryEntry>> entries = sorted_entries(fs_, path);
    if (!entries) {
      problem(path, entries.error());
      return;
    }
    const DirectoryEntry* before = nullptr;
    for (const DirectoryEntry& entry : *entries) {
      ++report_.names;
      if (!is_sound_name(entry.name)) {
        problem(path, fmt::format("holds the unsound name '{}'", entry.name));
        continue;
      }
      const std::string place = join(path, entry.name);
      if (before != nullptr && before->name == entry.name) problem(place, "is there twice");
      before = &entry;
      const Result<Stat> stat = fs_.stat(place, Follow::no);
      if (!stat) {
        problem(place, stat.error());
        continue;
      }
      if (stat->inode != entry.inode) problem(place, "another inode is found by the name than the directory lists");
      if (stat->kind != entry.kind) {
        problem(place, fmt::format("is a {}, and its name says {}", kind_text(stat->kind), kind_text(entry.kind)));
      }
      if (stat->kind == FileKind::directory) ++seen_[inode].subdirectories;
      if (meet(place, *stat) && stat->kind == FileKind::directory) pending.emplace_back(place, stat->inode);
    }
  }

  // Looks at an inode when it is met first; true then.
  bool meet(const std::string& path, const Stat& stat) {
    Seen& seen = seen_[stat.inode];
    ++seen.names;
    if (seen.names > 1) {
      if (stat.kind == FileKind::directory) problem(path, "is the directory " + seen.path + " again");
      return false;
    }
    seen.path = path;
    seen.kind = stat.kind;
    seen.links = stat.links;
    if (const Result<std::vector<std::string>> names = fs_.list_attributes(path, Follow::no)) {
      for (const std::string& name : *names) {
        if (const Result<std::string> value = fs_.attribute(path, name, Follow::no); !value) {
          problem(path, value.error());
        }
      }
    } else {
      problem(path, names.error());
    }
    check_kind(path, stat);
    return true;
  }

  void check_kind(const std::string& path, const Stat& stat) {
    switch (stat.kind) {
      case FileKind::regular:
        ++report_.files;
        check_extents(path, stat);
        break;
      case FileKind::directory:
        ++report_.directories;
        check_extents(path, stat);
        break;
      case FileKind::symlink:
        ++report_.symlinks;
        if (const Result<std::string> target = fs_.read_symlink(path); !target) problem(path, target.error());
        break;
      default:
        ++report_.nodes;
        break;
    }
  }

  void check_extents(const std::string& path, const Stat& stat) {
    const Result<File> file = fs_.open(path, Open::read | Open::no_follow);
    if (!file) {
      problem(path, file.error());
      return;
    }
    const Result<std::vector<ExtentInfo>> extents = file->extents();
    if (!extents) {
      problem(path, extents.error());
      return;
    }
    std::uint64_t end = 0;
    std::uint64_t bytes = 0;
    for (const ExtentInfo& extent : *extents) {
      if (extent.offset < end) problem(path, fmt::format("its extents overlap at byte {}", extent.offset));
      end = extent.offset + extent.length;
      bytes += extent.length;
      runs_.push_back({extent.device_offset, extent.device_offset + extent.length, stat.inode});
    }
    report_.extents += extents->size();
    report_.extent_bytes += bytes;
    if (bytes > stat.allocated) {
      problem(path, fmt::format("its extents have {} bytes, and the inode counts {}", bytes, stat.allocated));
    }
    if (read_data_ && stat.kind == FileKind::regular) read_all(path, *file);
  }

  void read_all(const std::string& path, const File& file) {
    std::vector<std::byte> piece(kPiece);
    const std::uint64_t size = file.size();
    for (std::uint64_t offset = 0; offset < size && !interrupted();) {
      const Result<std::uint64_t> data = file.next_data(offset);
      if (!data && data.error().code() == ENXIO) return;
      if (!data) return problem(path, data.error());
      const Result<std::size_t> got = file.read(*data, piece);
      if (!got) return problem(path, got.error());
      if (*got == 0) return problem(path, fmt::format("ends at byte {}, before its size", *data));
      offset = *data + *got;
      report_.bytes_read += *got;
    }
  }

  void check_links() {
    for (const auto& [inode, seen] : seen_) {
      if (seen.kind == FileKind::directory) {
        if (seen.links != seen.subdirectories + 2 && seen.links != kLinksUncounted) {
          problem(seen.path,
                  fmt::format("has the link count {}, and {} subdirectories", seen.links, seen.subdirectories));
        }
      } else if (seen.links != seen.names) {
        problem(seen.path, fmt::format("has the link count {}, and {} names", seen.links, seen.names));
      }
      if (inode == kRootInode && seen.path != "/") problem(seen.path, "is the root again");
    }
  }

  void check_overlaps() {
    std::sort(runs_.begin(), runs_.end(), [](const Run& a, const Run& b) { return a.begin < b.begin; });
    // The run that reaches furthest so far: what begins before its end shares blocks with it.
    const Run* furthest = nullptr;
    for (const Run& run : runs_) {
      if (furthest != nullptr && run.begin < furthest->end) {
        problem(seen_[run.inode].path,
                fmt::format("shares blocks at device byte {} with {}", run.begin, seen_[furthest->inode].path));
      }
      if (furthest == nullptr || run.end > furthest->end) furthest = &run;
    }
  }

  Filesystem& fs_;
  const bool read_data_;
  CheckReport report_;
  std::unordered_map<std::uint32_t, Seen> seen_;
  std::vector<Run> runs_;
};

}  // namespace

CheckReport check_pool(Filesystem& fs, bool read_data) { return Checker(fs, read_data).run(); }

}  // namespace holdfast::cli
