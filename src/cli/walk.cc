#include "cli/walk.h"

#include <algorithm>
#include <cerrno>
#include <vector>

#include "cli/interrupt.h"
#include "cli/path.h"
#include "cli/pool.h"

namespace holdfast::cli {

Status DirectoriesMet::meet(std::uint32_t inode, const std::string& path) {
  if (inodes_.insert(inode).second) return {};
  return Error(EUCLEAN, path, "is a directory that was met before: the pool is damaged", "see holdfast check");
}

int walk_tree(const Filesystem& fs, const std::string& path, Io& io, const Visitor& visit) {
  int code = kDone;
  // What is still to be visited, the next at the end: no recursion, so a deep tree costs memory and no stack.
  std::vector<std::string> pending{path};
  DirectoriesMet met;
  while (!pending.empty()) {
    if (const Status go_on = check_interrupt(); !go_on) return complain(io, go_on.error());
    const std::string current = std::move(pending.back());
    pending.pop_back();
    const Result<Stat> stat = fs.stat(current, Follow::no);
    if (!stat) {
      code = complain(io, stat.error());
      continue;
    }
    if (stat->kind == FileKind::directory) {
      if (const Status first = met.meet(stat->inode, current); !first) {
        code = complain(io, first.error());
        continue;
      }
    }
    if (visit(current, *stat) == Visit::skip || stat->kind != FileKind::directory) continue;
    const Result<std::vector<DirectoryEntry>> entries = sorted_entries(fs, current);
    if (!entries) {
      code = complain(io, entries.error());
      continue;
    }
    std::for_each(entries->rbegin(), entries->rend(),
                  [&](const DirectoryEntry& entry) { pending.push_back(join(current, entry.name)); });
  }
  return code;
}

}  // namespace holdfast::cli
