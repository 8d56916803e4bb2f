#include "cli/copier.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/result.h"
#include "cli/copy_bytes.h"
#include "cli/interrupt.h"
#include "cli/path.h"

namespace holdfast::cli {
namespace {

// Errors after which every further file would fail the same way.
bool is_final(int code) { return code == ENOSPC || code == EDQUOT || code == EROFS || code == EINTR; }

}  // namespace

Copier::Copier(const Tree& from, Tree& to, Progress& progress, Io& io, std::optional<Identity> pool_file)
    : from_(from),
      to_(to),
      progress_(progress),
      io_(io),
      pool_file_(pool_file),
      metadata_(from, io),
      piece_(kPieceBytes) {}

void Copier::copy(const std::string& source, const std::string& dest) {
  std::vector<Step> steps{{source, dest, std::nullopt, true}};
  while (!steps.empty()) {
    const Step step = std::move(steps.back());
    steps.pop_back();
    if (step.leave) {
      // Also after a stop: a directory that was entered gets its permissions and times.
      if (const Status left = leave(step); !left && !stopped_) fail(left.error());
      continue;
    }
    if (stopped_) continue;
    Status done = check_interrupt();
    if (done) done = enter(step, steps);
    if (!done) fail(done.error());
  }
}

void Copier::fail(const Error& error) {
  progress_.clear();
  complain(io_, error);
  ++counts_.failures;
  stopped_ = stopped_ || is_final(error.code());
}

Status Copier::enter(const Step& step, std::vector<Step>& steps) {
  Result<Node> node = from_.look(step.from);
  if (!node) {
    if (step.top || node.error().code() != ENOENT) return std::move(node).error();
    return Error(ENOENT, from_.describe(step.from), "gone before it could be copied");
  }
  if (pool_file_ && node->identity == *pool_file_) {
    progress_.clear();
    note(io_, from_.describe(step.from), "passed over: it is the pool itself");
    ++counts_.skipped;
    return {};
  }
  if (node->kind == FileKind::directory) return copy_directory(step, *node, steps);
  if (!made_.insert(step.to).second) {
    return Error(EEXIST, to_.describe(step.to),
                 fmt::format("not replaced by {}: it was made just now", from_.describe(step.from)));
  }
  if (node->links > 1) {
    const auto first = first_names_.find(node->identity);
    if (first != first_names_.end()) return link_to_first(first->second, step);
  }
  Status copied;
  switch (node->kind) {
    case FileKind::regular:
      copied = copy_file(step, *node);
      break;
    case FileKind::symlink:
      copied = copy_symlink(step, *node);
      break;
    default:
      copied = copy_node(step, *node);
      break;
  }
  if (copied && node->links > 1) first_names_.emplace(node->identity, step.to);
  return copied;
}

Status Copier::copy_directory(const Step& step, const Node& node, std::vector<Step>& steps) {
  if (!from_.directories_may_repeat() && !directories_met_.insert(node.identity).second) {
    return Error(EUCLEAN, from_.describe(step.from), "is a directory that was met before: the pool is damaged",
                 "see holdfast check");
  }
  // The names first: a directory that cannot be read is not made.
  HF_ASSIGN(const std::vector<std::string> names, from_.names(step.from));
  if (Status made = to_.make_directory(step.to); !made) {
    if (made.error().code() != EEXIST) return made;
    // Not through a symbolic link: what it leads to is not ours to fill.
    HF_ASSIGN(const Node there, to_.look(step.to));
    if (there.kind != FileKind::directory) {
      return Error(ENOTDIR, to_.describe(step.to), "is there already and not a directory, and the source is one");
    }
  }
  steps.push_back({step.from, step.to, node, false});
  std::for_each(names.rbegin(), names.rend(), [&](const std::string& name) {
    if (is_sound_name(name)) {
      steps.push_back({join(step.from, name), join(step.to, name), std::nullopt, false});
    } else {
      fail(Error(EUCLEAN, from_.describe(step.from), fmt::format("holds the unsound name '{}'", name)));
    }
  });
  return {};
}

Status Copier::leave(const Step& step) {
  ++counts_.directories;
  return metadata_.copy(step.from, *step.leave, *to_.at(step.to), to_.describe(step.to));
}

Status Copier::copy_file(const Step& step, const Node& node) {
  HF_ASSIGN(const std::unique_ptr<SourceFile> source, from_.open(step.from));
  HF_ASSIGN(const std::unique_ptr<NewFile> file, to_.new_file(parent_of(step.to)));
  const std::string name = to_.describe(step.to);
  HF_ASSIGN(const std::uint64_t bytes, copy_bytes(*source, from_.describe(step.from), *file, name, piece_, progress_));
  if (Status copied = metadata_.copy(step.from, node, *file, name); !copied) {
    return std::move(copied).error().about(name);
  }
  HF_TRY(place(step.to, [&](const std::string& path) { return to_.publish(*file, path); }));
  ++counts_.files;
  counts_.bytes += bytes;
  progress_.file_done();
  return {};
}

Status Copier::copy_symlink(const Step& step, const Node& node) {
  HF_ASSIGN(const std::string target, from_.read_symlink(step.from));
  const auto make = [&](const std::string& path) { return to_.symlink(target, path); };
  HF_TRY(place(step.to, [&](const std::string& path) { return make_with_metadata(step, node, path, make); }));
  ++counts_.symlinks;
  return {};
}

Status Copier::copy_node(const Step& step, const Node& node) {
  const auto make = [&](const std::string& path) { return to_.make_node(path, node); };
  HF_TRY(place(step.to, [&](const std::string& path) { return make_with_metadata(step, node, path, make); }));
  ++counts_.nodes;
  return {};
}

// A name that cannot get its metadata does not stay.
template <typename Make>
Status Copier::make_with_metadata(const Step& step, const Node& node, const std::string& path, Make make) {
  HF_TRY(make(path));
  Status copied = metadata_.copy(step.from, node, *to_.at(path), to_.describe(step.to));
  if (!copied) static_cast<void>(to_.remove(path).has_value());
  return copied;
}

Status Copier::link_to_first(const std::string& first, const Step& step) {
  const Result<Node> there = to_.look(step.to);
  if (there) {
    HF_ASSIGN(const Node already, to_.look(first));
    if (already.identity == there->identity) return {};
  }
  HF_TRY(place(step.to, [&](const std::string& path) { return to_.link(first, path); }));
  ++counts_.hard_links;
  return {};
}

// Makes the name; when it is taken, makes it beside and renames it over what is there.
template <typename Make>
Status Copier::place(const std::string& path, Make make) {
  Status made = make(path);
  if (made || made.error().code() != EEXIST) return made;
  HF_ASSIGN(const Node there, to_.look(path));
  if (there.kind == FileKind::directory) {
    return Error(EISDIR, to_.describe(path), "is a directory, and the source is none");
  }
  if (pool_file_ && there.identity == *pool_file_) return Error(EBUSY, to_.describe(path), "is the pool itself");
  const std::string temporary = temporary_beside(path);
  HF_TRY(make(temporary));
  Status renamed = to_.rename(temporary, path);
  if (!renamed) static_cast<void>(to_.remove(temporary).has_value());
  return renamed;
}

std::string Copier::temporary_beside(const std::string& path) {
  return join(parent_of(path), fmt::format(".holdfast.{}.{}", getpid(), ++temporaries_));
}

Expected measure(const Tree& tree, const std::vector<std::string>& paths) {
  Expected expected;
  std::set<Identity> seen;
  std::vector<std::string> pending = paths;
  while (!pending.empty() && !interrupted()) {
    const std::string path = std::move(pending.back());
    pending.pop_back();
    const Result<Node> node = tree.look(path);
    if (!node) continue;
    if (node->kind == FileKind::directory) {
      if (!tree.directories_may_repeat() && !seen.insert(node->identity).second) continue;
      const Result<std::vector<std::string>> names = tree.names(path);
      if (!names) continue;
      for (const std::string& name : *names) pending.push_back(join(path, name));
    } else if (node->kind == FileKind::regular) {
      if (node->links > 1 && !seen.insert(node->identity).second) continue;
      ++expected.files;
      expected.bytes += std::min(node->size, std::max<std::uint64_t>(node->allocated, 1));
    }
  }
  return expected;
}

}  // namespace holdfast::cli
