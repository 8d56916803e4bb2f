#include "device/device_lock.h"

#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <ctime>
#include <optional>

#include "device/describe.h"
#include "device/small_file.h"

namespace holdfast::device {
namespace {

// Cuts the first word off `text`.
std::string_view next_word(std::string_view& text) {
  const std::size_t begin = std::min(text.find_first_not_of(' '), text.size());
  const std::size_t end = std::min(text.find(' ', begin), text.size());
  const std::string_view word = text.substr(begin, end - begin);
  text.remove_prefix(end);
  return word;
}

template <typename Number>
std::optional<Number> parse(std::string_view digits, int base = 10) {
  Number number{};
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return number;
}

// "08:02:1234": major and minor in hexadecimal, inode in decimal.
bool names_file(std::string_view field, dev_t device, ino_t inode) {
  const std::size_t first = field.find(':');
  const std::size_t second = field.find(':', first == std::string_view::npos ? first : first + 1);
  if (second == std::string_view::npos) return false;
  return parse<unsigned>(field.substr(0, first), 16) == gnu_dev_major(device) &&
         parse<unsigned>(field.substr(first + 1, second - first - 1), 16) == gnu_dev_minor(device) &&
         parse<std::uint64_t>(field.substr(second + 1)) == inode;
}

std::string printable(std::string_view text) {
  std::string clean(text);
  std::replace_if(
      clean.begin(), clean.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return clean;
}

// The wall clock time at which the machine's monotonic clock of process start times was 0.
std::optional<std::time_t> boot_time() {
  const std::optional<std::string> text = read_text("/proc/stat");
  if (!text) return std::nullopt;
  static constexpr std::string_view kKey = "\nbtime ";
  const std::size_t found = text->find(kKey);
  if (found == std::string::npos) return std::nullopt;
  std::string_view rest = std::string_view(*text).substr(found + kKey.size());
  return parse<std::time_t>(rest.substr(0, rest.find('\n')));
}

std::optional<std::string> describe_start(std::uint64_t ticks_after_boot) {
  const std::optional<std::time_t> boot = boot_time();
  const long ticks_per_second = sysconf(_SC_CLK_TCK);
  if (!boot || ticks_per_second <= 0) return std::nullopt;
  const std::time_t start =
      *boot + static_cast<std::time_t>(ticks_after_boot / static_cast<std::uint64_t>(ticks_per_second));
  std::tm local{};
  if (localtime_r(&start, &local) == nullptr) return std::nullopt;
  std::array<char, 32> text{};
  const std::size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &local);
  return std::string(text.data(), length);
}

std::string describe_holders(const std::vector<pid_t>& holders) {
  std::string text = describe_process(holders.front());
  if (holders.size() > 1) text += fmt::format(", and {} more", holders.size() - 1);
  return text;
}

Error busy(const std::string& path, const std::vector<pid_t>& holders, OpenMode mode) {
  if (holders.empty()) {
    return {EBUSY, path, "in use by a process that cannot be seen from here (another pid namespace or host)",
            "find it where it runs, for example with `fuser`, and close it there"};
  }
  const bool own = std::find(holders.begin(), holders.end(), getpid()) != holders.end();
  std::string reason = fmt::format("in use by {}", describe_holders(holders));
  if (own) reason += ", which is this process";
  return {EBUSY, path, std::move(reason),
          mode == OpenMode::read_only ? "close it there, or have it opened read-only there" : "close it there first"};
}

}  // namespace

std::vector<pid_t> flock_holders(std::string_view proc_locks, dev_t device, ino_t inode) {
  std::vector<pid_t> holders;
  while (!proc_locks.empty()) {
    const std::size_t length = std::min(proc_locks.find('\n'), proc_locks.size());
    std::string_view line = proc_locks.substr(0, length);
    proc_locks.remove_prefix(std::min(length + 1, proc_locks.size()));
    // "7: FLOCK  ADVISORY  WRITE 4242 08:02:1234 0 EOF"; one that waits has "->" before FLOCK.
    next_word(line);
    if (next_word(line) != "FLOCK") continue;
    next_word(line);
    next_word(line);
    const std::optional<pid_t> pid = parse<pid_t>(next_word(line));
    if (pid && *pid > 0 && names_file(next_word(line), device, inode)) holders.push_back(*pid);
  }
  return holders;
}

std::string describe_process(pid_t pid) {
  const std::optional<std::string> stat = read_text(fmt::format("/proc/{}/stat", pid));
  const std::size_t open = stat ? stat->find('(') : std::string::npos;
  const std::size_t close = stat ? stat->rfind(')') : std::string::npos;
  if (open == std::string::npos || close == std::string::npos || close < open) {
    return fmt::format("pid {}, which has ended and left the open file to a process that it started", pid);
  }
  std::string text = fmt::format("pid {} ({})", pid, printable(stat->substr(open + 1, close - open - 1)));
  // Field 22 is the start time; the word after the command is field 3.
  std::string_view rest = std::string_view(*stat).substr(close + 1);
  std::string_view word;
  for (int field = 3; field <= 22; ++field) word = next_word(rest);
  const std::optional<std::uint64_t> ticks = parse<std::uint64_t>(word);
  const std::optional<std::string> start = ticks ? describe_start(*ticks) : std::nullopt;
  if (start) text += fmt::format(", started {}", *start);
  return text;
}

Status lock_device(int fd, const std::string& path, OpenMode mode) {
  const int operation = (mode == OpenMode::read_write ? LOCK_EX : LOCK_SH) | LOCK_NB;
  // The holder may let go between our attempt and our look at /proc/locks: then nobody is in the way, and we try again.
  static constexpr int kAttempts = 3;
  for (int attempt = 1;; ++attempt) {
    if (flock(fd, operation) == 0) return {};
    const int code = errno;
    if (code == EINTR) continue;
    if (code != EWOULDBLOCK) {
      return Error(code == EOPNOTSUPP ? ENOTSUP : code, path, fmt::format("cannot be locked: {}", describe_errno(code)),
                   "keep it on a file system with file locks (ext4, xfs, btrfs, tmpfs)");
    }
    struct stat status {};
    std::vector<pid_t> holders;
    if (fstat(fd, &status) == 0) {
      holders = flock_holders(read_text("/proc/locks").value_or(""), status.st_dev, status.st_ino);
    }
    if (!holders.empty() || attempt == kAttempts) return busy(path, holders, mode);
  }
}

void unlock_device(int fd) { flock(fd, LOCK_UN); }

}  // namespace holdfast::device
