#include "cli/listing.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "cli/mode.h"
#include "cli/owner.h"
#include "cli/size.h"

namespace holdfast::cli {
namespace {

enum Column : std::size_t { kInode, kMode, kLinks, kOwner, kGroup, kSize, kTime, kColumns };
using Row = std::array<std::string, kColumns>;

bool is_device(const Stat& stat) {
  return stat.kind == FileKind::character_device || stat.kind == FileKind::block_device;
}

std::string size_text(const Stat& stat, const ListStyle& style) {
  if (is_device(stat)) return fmt::format("{}, {}", stat.device_major, stat.device_minor);
  return style.human ? human_size(stat.size) : fmt::format("{}", stat.size);
}

Row row_of(const Listed& entry, const ListStyle& style, bool any_acl) {
  const Stat& stat = entry.stat;
  return {style.inodes ? fmt::format("{}", stat.inode) : "",
          mode_text(stat.kind, stat.permissions) + (entry.has_acl ? "+"
                                                    : any_acl     ? " "
                                                                  : ""),
          fmt::format("{}", stat.links),
          user_name(stat.uid),
          group_name(stat.gid),
          size_text(stat, style),
          short_time(stat.modified, style.now_seconds)};
}

void print_long(const std::vector<Listed>& entries, const ListStyle& style, Io& io) {
  const bool any_acl = std::any_of(entries.begin(), entries.end(), [](const Listed& entry) { return entry.has_acl; });
  std::vector<Row> rows;
  std::array<std::size_t, kColumns> widths{};
  for (const Listed& entry : entries) {
    rows.push_back(row_of(entry, style, any_acl));
    for (std::size_t column = 0; column < kColumns; ++column) {
      widths[column] = std::max(widths[column], rows.back()[column].size());
    }
  }
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const Row& row = rows[i];
    std::string line = style.inodes ? fmt::format("{:>{}} ", row[kInode], widths[kInode]) : "";
    line += fmt::format("{} {:>{}} {:<{}} {:<{}} {:>{}} {} {}", row[kMode], row[kLinks], widths[kLinks], row[kOwner],
                        widths[kOwner], row[kGroup], widths[kGroup], row[kSize], widths[kSize], row[kTime],
                        shown(io, entries[i].name));
    if (entries[i].stat.kind == FileKind::symlink) line += " -> " + shown(io, entries[i].target);
    io.out << line << '\n';
  }
}

}  // namespace

Listed describe_entry(const Filesystem& fs, const std::string& name, const std::string& path, const Stat& stat,
                      const ListStyle& style) {
  Listed listed{name, path, stat, {}, false};
  if (stat.kind == FileKind::symlink) {
    if (Result<std::string> target = fs.read_symlink(path)) listed.target = std::move(target).value();
  } else if (style.long_form) {
    listed.has_acl = fs.attribute(path, "system.posix_acl_access", Follow::no).has_value() ||
                     fs.attribute(path, "system.posix_acl_default", Follow::no).has_value();
  }
  return listed;
}

void print_entries(const std::vector<Listed>& entries, const ListStyle& style, bool total, Io& io) {
  if (style.long_form) {
    if (total) {
      const std::uint64_t bytes =
          std::accumulate(entries.begin(), entries.end(), std::uint64_t{0},
                          [](std::uint64_t sum, const Listed& entry) { return sum + entry.stat.allocated; });
      io.out << "total " << (style.human ? human_size(bytes) : fmt::format("{}", bytes / KiB)) << '\n';
    }
    print_long(entries, style, io);
    return;
  }
  std::size_t width = 0;
  for (const Listed& entry : entries) width = std::max(width, fmt::format("{}", entry.stat.inode).size());
  for (const Listed& entry : entries) {
    if (style.inodes) io.out << fmt::format("{:>{}} ", entry.stat.inode, width);
    io.out << shown(io, entry.name) << '\n';
  }
}

Json entry_json(const Listed& entry) {
  Json json;
  json["name"] = entry.name;
  json["path"] = entry.path;
  json.update(stat_json(entry.stat));
  if (entry.stat.kind == FileKind::symlink) json["target"] = entry.target;
  return json;
}

}  // namespace holdfast::cli
