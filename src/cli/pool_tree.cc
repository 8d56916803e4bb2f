#include "cli/pool_tree.h"

#include <holdfast/window.h>
#include <algorithm>
#include <cerrno>
#include <optional>

#include "base/result.h"

namespace holdfast::cli {
namespace {

Node node_of(const Stat& stat) {
  Node node;
  node.identity = {0, stat.inode};
  node.kind = stat.kind;
  node.permissions = stat.permissions;
  node.links = stat.links;
  node.uid = stat.uid;
  node.gid = stat.gid;
  node.size = stat.size;
  node.allocated = stat.allocated;
  node.accessed = stat.accessed;
  node.modified = stat.modified;
  node.changed = stat.changed;
  node.device_major = stat.device_major;
  node.device_minor = stat.device_minor;
  return node;
}

class PoolSourceFile final : public SourceFile {
 public:
  PoolSourceFile(File file, std::string name) : file_(std::move(file)), name_(std::move(name)) {}

  Result<Node> look() const override {
    Result<Stat> stat = file_.stat();
    if (!stat) return std::move(stat).error().about(name_);
    return node_of(*stat);
  }
  Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) const override {
    return about_it(file_.read(offset, into));
  }
  // Large files of a pool that nobody writes: a window is worth its system calls there, and never changes.
  std::span<const std::byte> in_place(std::uint64_t offset, std::size_t length) const override {
    constexpr std::uint64_t kWorthAWindow = 2 * MiB;
    if (!tried_ && file_.size() >= kWorthAWindow) {
      if (Result<Window> window = file_.map(0, file_.size(), {.access = Access::read})) window_ = std::move(*window);
    }
    tried_ = true;
    if (!window_ || window_->faults() != Faults::none || offset > window_->size()) return {};
    return window_->bytes().subspan(offset, std::min<std::uint64_t>(length, window_->size() - offset));
  }
  Result<std::uint64_t> next_data(std::uint64_t offset) const override { return about_it(file_.next_data(offset)); }
  Result<std::uint64_t> next_hole(std::uint64_t offset) const override { return about_it(file_.next_hole(offset)); }

 private:
  template <typename T>
  Result<T> about_it(Result<T> result) const {
    if (!result) return std::move(result).error().about(name_);
    return result;
  }

  mutable File file_;
  std::string name_;
  mutable bool tried_ = false;
  mutable std::optional<Window> window_;
};

class PoolNewFile final : public NewFile {
 public:
  explicit PoolNewFile(File file) : file_(std::move(file)) {}

  Status write(std::uint64_t offset, std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      HF_ASSIGN(const std::size_t written, file_.write(offset, bytes));
      if (written == 0) return Error(ENOSPC, "", "");
      offset += written;
      bytes = bytes.subspan(written);
    }
    return {};
  }
  Status set_size(std::uint64_t size) override { return file_.size() == size ? Status() : file_.truncate(size); }
  Status set_owner(std::uint32_t uid, std::uint32_t gid) override { return file_.set_owner(uid, gid); }
  Status set_permissions(std::uint32_t permissions) override { return file_.set_permissions(permissions); }
  Status set_times(TimeStamp accessed, TimeStamp modified) override { return file_.set_times(accessed, modified); }
  Status set_attribute(const std::string& name, const std::string& value) override {
    return file_.set_attribute(name, value);
  }

  const File& file() const { return file_; }

 private:
  File file_;
};

class PoolPath final : public Attributed {
 public:
  PoolPath(Filesystem& fs, std::string path) : fs_(fs), path_(std::move(path)) {}

  Status set_owner(std::uint32_t uid, std::uint32_t gid) override { return fs_.set_owner(path_, uid, gid, Follow::no); }
  Status set_permissions(std::uint32_t permissions) override { return fs_.set_permissions(path_, permissions); }
  Status set_times(TimeStamp accessed, TimeStamp modified) override {
    return fs_.set_times(path_, accessed, modified, Follow::no);
  }
  Status set_attribute(const std::string& name, const std::string& value) override {
    return fs_.set_attribute(path_, name, value, Follow::no);
  }

 private:
  Filesystem& fs_;
  std::string path_;
};

}  // namespace

Status PoolTree::named(Status status, const std::string& path) const {
  if (status) return status;
  return std::move(status).error().about(describe(path));
}

Result<Node> PoolTree::look(const std::string& path) const {
  Result<Stat> stat = fs_.stat(path, Follow::no);
  if (!stat) return std::move(stat).error().about(describe(path));
  return node_of(*stat);
}

Result<Node> PoolTree::look_following(const std::string& path) const {
  Result<Stat> stat = fs_.stat(path, Follow::yes);
  if (!stat) return std::move(stat).error().about(describe(path));
  return node_of(*stat);
}

Result<std::vector<std::string>> PoolTree::names(const std::string& directory) const {
  std::vector<std::string> names;
  HF_TRY(named(fs_.list(directory,
                        [&names](const DirectoryEntry& entry) {
                          names.push_back(entry.name);
                          return true;
                        }),
               directory));
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::string> PoolTree::read_symlink(const std::string& path) const {
  Result<std::string> target = fs_.read_symlink(path);
  if (!target) return std::move(target).error().about(describe(path));
  return target;
}

Result<std::unique_ptr<SourceFile>> PoolTree::open(const std::string& path) const {
  Result<File> file = fs_.open(path, Open::read | Open::no_follow);
  if (!file) return std::move(file).error().about(describe(path));
  return std::unique_ptr<SourceFile>(std::make_unique<PoolSourceFile>(std::move(file).value(), describe(path)));
}

Result<std::vector<std::string>> PoolTree::attributes(const std::string& path) const {
  Result<std::vector<std::string>> names = fs_.list_attributes(path, Follow::no);
  if (!names) return std::move(names).error().about(describe(path));
  std::sort(names->begin(), names->end());
  return names;
}

Result<std::string> PoolTree::attribute(const std::string& path, const std::string& name) const {
  Result<std::string> value = fs_.attribute(path, name, Follow::no);
  if (!value) return std::move(value).error().about(describe(path));
  return value;
}

Status PoolTree::make_directory(const std::string& path) { return named(fs_.make_directory(path, 0700), path); }

Status PoolTree::make_node(const std::string& path, const Node& like) {
  return named(fs_.make_node(path, {.kind = like.kind,
                                    .permissions = 0600,
                                    .device_major = like.device_major,
                                    .device_minor = like.device_minor}),
               path);
}

Status PoolTree::symlink(const std::string& target, const std::string& path) {
  return named(fs_.symlink(target, path), path);
}

Status PoolTree::link(const std::string& existing, const std::string& path) {
  return named(fs_.link(existing, path), path);
}

Result<std::unique_ptr<NewFile>> PoolTree::new_file(const std::string& directory) {
  Result<File> file = fs_.open_unnamed(0600);
  if (!file) return std::move(file).error().about(describe(directory));
  return std::unique_ptr<NewFile>(std::make_unique<PoolNewFile>(std::move(file).value()));
}

Status PoolTree::publish(NewFile& file, const std::string& path) {
  // Every NewFile of this tree is one of ours.
  return named(fs_.link_unnamed(static_cast<PoolNewFile&>(file).file(), path), path);
}

Status PoolTree::rename(const std::string& from, const std::string& to) { return named(fs_.rename(from, to), to); }

Status PoolTree::remove(const std::string& path) { return named(fs_.unlink(path), path); }

std::unique_ptr<Attributed> PoolTree::at(const std::string& path) { return std::make_unique<PoolPath>(fs_, path); }

}  // namespace holdfast::cli
