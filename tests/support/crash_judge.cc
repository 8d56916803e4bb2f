#include "support/crash_judge.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include <holdfast/holdfast.h>

#include "ext4/checksum.h"
#include "ext4/superblock.h"
#include "support/ext4_volume.h"

namespace holdfast::test {
namespace {

constexpr const char* kAfter = "/after";

std::string said(const char* what, const Error& error) { return fmt::format("{}: {}", what, error.message()); }

// What lies in zeros takes no memory.
void write_image(const sim::Bytes& image, const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, S_IRUSR | S_IWUSR);
  bool written = fd >= 0 && ftruncate(fd, static_cast<off_t>(image.size())) == 0;
  const sim::Bytes zeros(kModelPage);
  for (std::size_t at = 0; written && at < image.size(); at += kModelPage) {
    if (std::memcmp(image.data() + at, zeros.data(), kModelPage) == 0) continue;
    written = pwrite(fd, image.data() + at, kModelPage, static_cast<off_t>(at)) == static_cast<ssize_t>(kModelPage);
  }
  if (fd >= 0) close(fd);
  if (!written) throw std::runtime_error("no image can be written to " + path);
}

// Looks at a mounted pool.
class Look {
 public:
  Look(Filesystem& fs, const CrashModel& model) : fs_(fs), model_(model) {}

  std::string run() {
    if (std::string wrong = list("/"); !wrong.empty()) return wrong;
    const bool known =
        std::any_of(model_.names.begin(), model_.names.end(), [this](const Names& moment) { return moment == found_; });
    if (!known) return names_wrong();
    for (const auto& [path, number] : found_) {
      if (model_.directories.contains(number) || model_.symlinks.contains(number)) continue;
      if (std::string wrong = file(path, number); !wrong.empty())
        return fmt::format("{} (file {}): {}", path, number, wrong);
    }
    return {};
  }

 private:
  std::string list(const std::string& directory) {
    std::vector<DirectoryEntry> entries;
    const Status listed = fs_.list(directory, [&entries](const DirectoryEntry& entry) {
      entries.push_back(entry);
      return true;
    });
    if (!listed) return said("listing", listed.error());
    for (const DirectoryEntry& entry : entries) {
      const std::string path = (directory == "/" ? "" : directory) + "/" + entry.name;
      if (path == "/lost+found" || path == kAfter) continue;
      const Result<Stat> stat = fs_.stat(path, Follow::no);
      if (!stat) return said("stat", stat.error());
      if (stat->kind == FileKind::symlink) {
        if (std::string wrong = symlink(path); !wrong.empty()) return wrong;
        continue;
      }
      found_[path] = stat->permissions;
      if (stat->kind != FileKind::directory) continue;
      if (std::string wrong = list(path); !wrong.empty()) return wrong;
    }
    return {};
  }

  std::string symlink(const std::string& path) {
    const Result<std::string> target = fs_.read_symlink(path);
    if (!target) return said("a symbolic link", target.error());
    const auto known = std::find_if(model_.symlinks.begin(), model_.symlinks.end(),
                                    [&target](const auto& each) { return each.second == *target; });
    if (known == model_.symlinks.end()) return fmt::format("{} points to '{}', as nothing ever did", path, *target);
    found_[path] = known->first;
    return {};
  }

  std::string attribute(const std::string& path, const CrashFile& expected) {
    const Result<std::string> value = fs_.attribute(path, kCrashAttribute);
    if (!value && value.error().code() != ENODATA) return said("an attribute", value.error());
    return expected.check_attribute(value ? *value : std::string());
  }

  // Against the moment that comes closest.
  std::string names_wrong() const {
    std::string best;
    std::size_t fewest = ~std::size_t{0};
    for (const Names& moment : model_.names) {
      std::string difference;
      std::size_t count = 0;
      const auto differs = [&](const Names& from, const Names& in, const char* what) {
        for (const auto& [path, number] : from) {
          const auto other = in.find(path);
          if (other != in.end() && other->second == number) continue;
          difference += fmt::format(" {} {} as file {};", what, path, number);
          ++count;
        }
      };
      differs(found_, moment, "there is");
      differs(moment, found_, "there is no");
      if (count < fewest) best = difference;
      fewest = std::min(fewest, count);
    }
    return fmt::format("the names are those of none of {} moments; against the closest:{}", model_.names.size(), best);
  }

  std::string file(const std::string& path, std::uint32_t number) {
    const auto expected = model_.files.find(number);
    if (expected == model_.files.end()) return "a file that the model does not know";
    if (std::string wrong = attribute(path, expected->second); !wrong.empty()) return wrong;
    const Result<File> file = fs_.open(path, Open::read);
    if (!file) return said("open", file.error());
    const std::uint64_t size = file->size();
    if (std::string wrong = expected->second.check_size(size); !wrong.empty()) return wrong;
    std::vector<Word> words((size + sizeof(Word) - 1) / sizeof(Word));
    const Result<std::size_t> got = file->read(0, std::as_writable_bytes(std::span(words)));
    if (!got) return said("read", got.error());
    if (*got != size) return fmt::format("{} of {} bytes can be read", *got, size);
    return expected->second.check(number, 0, words.data(), words.size());
  }

  Filesystem& fs_;
  const CrashModel& model_;
  Names found_;
};

// New blocks, and a commit, by what the recovered pool believes to be free.
std::string write_something(Filesystem& fs) {
  constexpr std::size_t kBytes = 16 * kModelPage;
  Result<File> file = fs.open(kAfter, Open::read_write | Open::create);
  if (!file) return file.error().code() == ENOSPC ? std::string() : said("creating a file", file.error());
  const std::vector<std::byte> bytes(kBytes, std::byte{0xA7});
  const Result<std::size_t> done = file->write(0, bytes);
  if (!done && done.error().code() != ENOSPC) return said("writing", done.error());
  const Status synced = file->sync();
  return synced ? std::string() : said("syncing", synced.error());
}

// Which superblock e2fsck begins with. It looks for the second one by itself where groups are as large as usual.
enum class Begin : std::uint8_t { with_first, with_second, with_none };
Begin superblock_of(const sim::Bytes& image) {
  ext2_super_block super{};
  std::memcpy(&super, image.data() + ext4::kSuperblockOffset, sizeof(super));
  if (super.s_checksum == ext4::superblock_checksum(super)) return Begin::with_first;
  return super.s_blocks_count > super.s_blocks_per_group ? Begin::with_second : Begin::with_none;
}

// What our own verification finds, first of all; empty: nothing.
std::string verify(const std::string& path) {
  Result<Device> device = Device::open_read_only(path);
  if (!device) return said("open", device.error());
  Result<Filesystem> fs = Filesystem::mount(std::move(device).value(), {.read_only = true});
  if (!fs) return said("mount", fs.error());
  const Result<VerifyReport> report = fs->verify();
  if (!report) return said("verify", report.error());
  return report->sound() ? std::string() : report->problems.front();
}

// Before anybody recovers it: what we find in an image with its journal replayed in memory, against what e2fsck finds
// in a copy with its journal replayed and nothing else done.
std::string disagreement(const std::string& path, const std::string& replayed) {
  const std::string ours = verify(path);
  const ProgramEnd replay = run_program("debugfs -w -R jr '" + replayed + "'");
  if (replay.status != 0) return "debugfs cannot replay the journal: " + replay.output;
  const ProgramEnd theirs = run_program("e2fsck -fn '" + replayed + "'");
  // A journal's superblock that was cut short is replayed by us alone.
  if (theirs.output.find("skipping journal recovery") != std::string::npos) return {};
  if (ours.empty() == (theirs.status == 0)) return {};
  return fmt::format("before the recovery we find: {}; e2fsck -fn ended with {}:\n{}", ours.empty() ? "nothing" : ours,
                     theirs.status, theirs.output);
}

std::string fsck(const std::string& options, const std::string& path, int most) {
  const ProgramEnd end = run_program("e2fsck " + options + " '" + path + "'");
  if (end.status >= 0 && end.status <= most) return {};
  return fmt::format("e2fsck {} ended with {}:\n{}", options, end.status, end.output);
}

}  // namespace

std::string check_pool(const std::string& path, const CrashModel& model, bool use) {
  Result<Device> device = Device::open(path);
  if (!device) return said("open", device.error());
  Result<Filesystem> fs = Filesystem::mount(std::move(device).value());
  if (!fs) return said("mount", fs.error());
  std::string wrong = Look(*fs, model).run();
  if (wrong.empty() && use) wrong = write_something(*fs);
  if (wrong.empty() && use) wrong = Look(*fs, model).run();
  const Status closed = fs->unmount({.deadline = std::chrono::seconds(20)});
  if (wrong.empty() && !closed) return said("unmount", closed.error());
  return wrong;
}

CrashJudge::CrashJudge() : scratch_(tmpfs_parent().empty() ? disk_parent() : tmpfs_parent()) {}

std::string CrashJudge::judge(const sim::Bytes& image, const CrashModel& model, bool read_repaired) {
  const std::string ours = scratch_.file("ours");
  write_image(image, ours);
  std::string wrong = check_pool(ours, model, true);
  if (wrong.empty()) wrong = fsck("-fn", ours, 0);
  if (wrong.empty()) wrong = verify(ours);
  if (!wrong.empty()) return "recovered by a mount: " + wrong;

  const std::string theirs = scratch_.file("theirs");
  write_image(image, theirs);
  const Begin begin = superblock_of(image);
  if (begin == Begin::with_none) {
    ++without_superblock_;
    return {};
  }
  if (read_repaired && begin == Begin::with_first) {
    const std::string replayed = scratch_.file("replayed");
    write_image(image, replayed);
    if (wrong = disagreement(theirs, replayed); !wrong.empty()) return wrong;
  }
  wrong = fsck(begin == Begin::with_first ? "-fy" : fmt::format("-fy -B 4096 -b {}", kCrashGroupBlocks), theirs, 1);
  if (wrong.empty()) wrong = fsck("-fn", theirs, 0);
  if (wrong.empty()) wrong = verify(theirs);
  if (wrong.empty() && read_repaired) wrong = check_pool(theirs, model, false);
  return wrong.empty() ? wrong : "recovered by e2fsck: " + wrong;
}

void CrashJudge::keep(const sim::Bytes& image, const std::string& path) { write_image(image, path); }

}  // namespace holdfast::test
