// Lines of ls: what is known of each name, in columns.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <holdfast/filesystem.h>

#include "cli/io.h"
#include "cli/show.h"

namespace holdfast::cli {

struct ListStyle {
  bool long_form = false;
  bool human = false;
  bool inodes = false;
  std::int64_t now_seconds = 0;
};

struct Listed {
  std::string name;  // as it is shown
  std::string path;
  Stat stat;
  std::string target;    // of a symbolic link
  bool has_acl = false;  // shown as + behind the mode
};

// What `style` needs to know of a name. What cannot be read is left out.
Listed describe_entry(const Filesystem& fs, const std::string& name, const std::string& path, const Stat& stat,
                      const ListStyle& style);

// One line each; with -l in columns, and headed by the blocks in use when `total`.
void print_entries(const std::vector<Listed>& entries, const ListStyle& style, bool total, Io& io);

Json entry_json(const Listed& entry);

}  // namespace holdfast::cli
