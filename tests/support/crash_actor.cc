#include "support/crash_actor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

namespace holdfast::test {
namespace {

constexpr unsigned kMany = 24;
const char* const kDirectories[] = {"", "/x", "/y"};

std::string many_path(std::uint32_t number) { return fmt::format("/x/{}{}", std::string(150, 'n'), number); }

bool lies_in(const std::string& path, const std::string& directory) { return path.starts_with(directory + "/"); }

}  // namespace

void CrashLog::add(std::string line) {
  const std::lock_guard lock(mutex_);
  lines_.push_back(std::move(line));
}

std::string CrashLog::text() const {
  const std::lock_guard lock(mutex_);
  std::string text;
  for (std::size_t i = 0; i < lines_.size(); ++i) text += fmt::format("  {:3} {}\n", i, lines_[i]);
  return text;
}

CrashActor::CrashActor(Filesystem fs, SharedModel& model, CrashLog& log, CrashMix mix, std::uint64_t seed,
                       Persist persist)
    : fs_(std::move(fs)), model_(model), log_(log), mix_(mix), random_(seed), persist_(std::move(persist)) {
  cluster_pages_ = fs_->space().cluster / kModelPage;
}

std::string CrashActor::ended(const char* what, const Status& status, std::initializer_list<int> may_say) {
  if (status) return {};
  log_.add(fmt::format("    -> {}", status.error().message()));
  if (std::find(may_say.begin(), may_say.end(), status.error().code()) != may_say.end()) return {};
  return fmt::format("{}: {}", what, status.error().message());
}

std::string CrashActor::fill_up(std::uint64_t leave) {
  const std::uint64_t available = fs_->space().available;
  if (available <= leave) return {};
  Result<File> file = fs_->open("/ballast", Open::read_write | Open::create, ++numbers_);
  if (!file) return ended("ballast", file.error(), {});
  const std::uint32_t number = numbers_;
  model_.change([&](CrashModel& model) {
    Names next = model.now();
    next["/ballast"] = number;
    model.names_may_become(std::move(next));
    // Its size comes with the first sync, its bytes are never written.
    model.files[number].has_size(available - leave);
  });
  if (std::string wrong = ended("ballast", file->allocate(0, available - leave), {}); !wrong.empty()) return wrong;
  return sync_all();
}

std::string CrashActor::step() {
  wants_new_life_ = false;
  if (mix_ == CrashMix::names && one_in(2)) return one_in(3) ? symlink() : set_attribute();
  if (mix_ == CrashMix::memory && !one_in(3)) return on_memory();
  switch (below(32)) {
    case 0:
    case 1:
      return create(new_path());
    case 2:
    case 3:
      return unlink_some();
    case 4:
      return rename();
    case 5:
      return link();
    case 6:
      return one_in(3) ? remove_directory() : make_directory();
    case 7:
      return many_ == 0 ? create_many() : remove_many();
    case 8:
      return sync_all();
    case 9:
      wants_new_life_ = one_in(4);
      return {};
    case 10:
    case 11:
      return store();
    case 12:
    case 13:
      return device_stores();
    default:
      return on_file();
  }
}

std::string CrashActor::close() {
  log_.add("close the pool");
  held_.clear();
  shown_.clear();
  open_.clear();
  const Status closed = fs_->unmount({.deadline = std::chrono::seconds(20)});
  if (closed) {
    model_.change([](CrashModel& model) {
      for (auto& [number, file] : model.files) file.synced();
      model.names_synced();
    });
  }
  fs_.reset();
  return ended("unmount", closed, {});
}

// --- names ---

std::optional<std::string> CrashActor::some_path(bool file) {
  std::vector<std::string> paths;
  for (const auto& [path, number] : model_.get().now()) {
    if (model_.get().directories.contains(number) != file && path != "/ballast") paths.push_back(path);
  }
  if (paths.empty()) return std::nullopt;
  return paths[below(paths.size())];
}

std::string CrashActor::new_path() {
  for (;;) {
    const std::string directory = kDirectories[below(std::size(kDirectories))];
    if (!directory.empty() && !model_.get().now().contains(directory)) continue;
    return fmt::format("{}/f{}", directory, below(6));
  }
}

template <typename Do>
std::string CrashActor::change_names(const char* what, Names next, Do apply) {
  model_.change([&next](CrashModel& model) { model.names_may_become(std::move(next)); });
  const Status done = apply();
  if (!done) model_.change([](CrashModel& model) { model.names_stayed(); });
  if (done) forget_unnamed();
  return ended(what, done, {ENOSPC});
}

// A file without a name is nobody's but its pins'.
void CrashActor::forget_unnamed() {
  const Names& now = model_.get().now();
  const auto named = [&now](std::uint32_t number) {
    return std::any_of(now.begin(), now.end(), [number](const auto& each) { return each.second == number; });
  };
  std::erase_if(shown_, [&](const Shown& each) { return !named(each.number); });
  std::erase_if(open_, [&](const auto& each) { return !named(each.first); });
  for (const Held& each : held_) {
    if (!named(each.number)) detach(each.number, 0, kPages);
  }
}

std::string CrashActor::create(const std::string& path) {
  if (model_.get().now().contains(path) || numbers_ + 1 >= kFileNumbers) return {};
  const std::uint32_t number = ++numbers_;
  log_.add(fmt::format("create {} as file {}", path, number));
  model_.change([number](CrashModel& model) { model.files[number]; });
  Names next = model_.get().now();
  next[path] = number;
  return change_names("create", std::move(next), [&]() -> Status {
    Result<File> file = fs_->open(path, Open::read_write | Open::create | Open::exclusive, number);
    if (!file) return file.error();
    open_.emplace(number, std::move(*file));
    return {};
  });
}

std::string CrashActor::create_many() {
  if (!model_.get().now().contains("/x") || many_ != 0) return {};
  std::string wrong;
  while (wrong.empty() && many_ < kMany) wrong = create(many_path(many_++));
  return wrong;
}

std::string CrashActor::remove_many() {
  std::string wrong;
  while (wrong.empty() && many_ > 0) {
    const std::string path = many_path(--many_);
    if (model_.get().now().contains(path)) wrong = unlink(path);
  }
  return wrong;
}

std::string CrashActor::unlink_some() {
  const std::optional<std::string> path = some_path(true);
  return path ? unlink(*path) : std::string();
}

std::string CrashActor::unlink(const std::string& path) {
  log_.add("unlink " + path);
  Names next = model_.get().now();
  next.erase(path);
  return change_names("unlink", std::move(next), [&] { return fs_->unlink(path); });
}

std::string CrashActor::rename() {
  const bool file = !one_in(4);
  const std::optional<std::string> from = some_path(file);
  if (!from) return {};
  const std::string to = file ? new_path() : fmt::format("/{}", one_in(2) ? "x" : "y");
  Names next = model_.get().now();
  const auto target = next.find(to);
  // Two names of one file stay as they are; a directory goes where nothing is.
  if (target != next.end() && (!file || target->second == next[*from])) return {};
  log_.add(fmt::format("rename {} {}", *from, to));
  next[to] = next[*from];
  next.erase(*from);
  for (auto each = next.begin(); !file && each != next.end();) {
    if (lies_in(each->first, *from)) {
      next[to + each->first.substr(from->size())] = each->second;
      each = next.erase(each);
    } else {
      ++each;
    }
  }
  if (!file) many_ = 0;
  return change_names("rename", std::move(next), [&] { return fs_->rename(*from, to); });
}

std::string CrashActor::link() {
  const std::optional<std::string> from = some_path(true);
  const std::string to = new_path();
  Names next = model_.get().now();
  if (!from || next.contains(to)) return {};
  log_.add(fmt::format("link {} {}", *from, to));
  next[to] = next[*from];
  return change_names("link", std::move(next), [&] { return fs_->link(*from, to); });
}

std::string CrashActor::make_directory() {
  const std::string path = one_in(2) ? "/x" : "/y";
  Names next = model_.get().now();
  if (next.contains(path) || numbers_ + 1 >= kFileNumbers) return {};
  const std::uint32_t number = ++numbers_;
  log_.add(fmt::format("mkdir {} as file {}", path, number));
  next[path] = number;
  model_.change([number](CrashModel& model) { model.directories[number] = true; });
  return change_names("mkdir", std::move(next), [&] { return fs_->make_directory(path, number); });
}

std::string CrashActor::remove_directory() {
  const std::optional<std::string> path = some_path(false);
  if (!path) return {};
  // With what is in it: no directory has another one.
  const Names before = model_.get().now();
  for (const auto& [inside, number] : before) {
    if (!lies_in(inside, *path)) continue;
    if (std::string wrong = unlink(inside); !wrong.empty()) return wrong;
  }
  if (*path == "/x") many_ = 0;
  log_.add("rmdir " + *path);
  Names next = model_.get().now();
  next.erase(*path);
  return change_names("rmdir", std::move(next), [&] { return fs_->remove_directory(*path); });
}

// In the inode, or in a block.
std::string CrashActor::symlink() {
  const std::string path = new_path();
  Names next = model_.get().now();
  if (next.contains(path) || numbers_ + 1 >= kFileNumbers) return {};
  const std::uint32_t number = ++numbers_;
  const std::string target = fmt::format("{}/{}", number, std::string(below(one_in(2) ? 50 : 1000), 't'));
  log_.add(fmt::format("symlink {} as file {}, {} bytes", path, number, target.size()));
  next[path] = number;
  model_.change([&](CrashModel& model) { model.symlinks[number] = target; });
  return change_names("symlink", std::move(next), [&] { return fs_->symlink(target, path); });
}

std::string CrashActor::set_attribute() {
  const std::optional<std::string> path = some_path(true);
  if (!path) return create(new_path());
  const std::uint32_t number = model_.get().now().at(*path);
  if (model_.get().symlinks.contains(number)) return {};
  const bool remove = one_in(4);
  const std::string value =
      remove ? std::string()
             : fmt::format("{}.{} ", number, ++generations_) + std::string(below(one_in(2) ? 40 : 2500), 'a');
  log_.add(fmt::format("attribute of file {}: {} bytes", number, value.size()));
  model_.change([&](CrashModel& model) { model.files[number].may_have_attribute(value); });
  const Status done =
      remove ? fs_->remove_attribute(*path, kCrashAttribute) : fs_->set_attribute(*path, kCrashAttribute, value);
  if (done) model_.change([&](CrashModel& model) { model.files[number].has_attribute(value); });
  return ended("attribute", done, {ENOSPC, ENODATA});
}

}  // namespace holdfast::test
