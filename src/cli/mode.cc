#include "cli/mode.h"

#include <sys/stat.h>

#include <algorithm>

namespace holdfast::cli {
namespace {

constexpr std::uint32_t kAll = 07777;
constexpr std::uint32_t kSetIds = 06000;
constexpr std::uint32_t kExecute = 0111;

std::uint32_t affected_by(char who) {
  switch (who) {
    case 'u':
      return 04700;
    case 'g':
      return 02070;
    case 'o':
      return 01007;
    case 'a':
      return kAll;
    default:
      return 0;
  }
}

// Three bits, given to user, group and others alike.
std::uint32_t for_everyone(std::uint32_t bits) { return bits << 6U | bits << 3U | bits; }

}  // namespace

bool ModeChange::parse_octal(std::string_view text, ModeChange& change) {
  char operation = '=';
  if (text[0] == '+' || text[0] == '-' || text[0] == '=') {
    operation = text[0];
    text.remove_prefix(1);
  }
  std::uint32_t value = 0;
  for (const char digit : text) {
    if (digit < '0' || digit > '7') return false;
    value = value * 8 + static_cast<std::uint32_t>(digit - '0');
    if (value > kAll) return false;
  }
  if (text.empty()) return false;
  const bool names_set_ids = text.size() > 4 || operation != '=';
  change.steps_.push_back({.operation = operation,
                           .affected = kAll,
                           .value = value,
                           .mentioned = names_set_ids ? kSetIds : value & kSetIds});
  return true;
}

// One "+rwx" of a clause; returns the characters used, 0 when it is none.
std::size_t ModeChange::parse_step(std::string_view text, std::uint32_t affected, Step& step) {
  if (text.empty() || (text[0] != '+' && text[0] != '-' && text[0] != '=')) return 0;
  step.operation = text[0];
  step.affected = affected;
  if (text.size() > 1 && (text[1] == 'u' || text[1] == 'g' || text[1] == 'o')) {
    step.bits = text[1] == 'u' ? Bits::copy_user : text[1] == 'g' ? Bits::copy_group : Bits::copy_other;
    return 2;
  }
  std::size_t used = 1;
  for (; used < text.size(); ++used) {
    switch (text[used]) {
      case 'r':
        step.value |= 0444;
        continue;
      case 'w':
        step.value |= 0222;
        continue;
      case 'x':
        step.value |= kExecute;
        continue;
      case 'X':
        step.bits = Bits::execute_if_any;
        continue;
      case 's':
        step.value |= kSetIds;
        step.mentioned |= kSetIds;
        continue;
      case 't':
        step.value |= 01000;
        continue;
      default:
        break;
    }
    break;
  }
  return used;
}

bool ModeChange::parse_clause(std::string_view clause, ModeChange& change) {
  std::uint32_t affected = 0;
  while (!clause.empty() && affected_by(clause[0]) != 0) {
    affected |= affected_by(clause[0]);
    clause.remove_prefix(1);
  }
  if (clause.empty()) return false;
  while (!clause.empty()) {
    Step step;
    const std::size_t used = parse_step(clause, affected, step);
    if (used == 0) return false;
    step.mentioned &= affected == 0 ? kAll : affected;
    change.steps_.push_back(step);
    clause.remove_prefix(used);
  }
  return true;
}

std::optional<ModeChange> ModeChange::parse(std::string_view text) {
  ModeChange change;
  if (text.empty()) return std::nullopt;
  if (parse_octal(text, change)) return change;
  for (;;) {
    const std::size_t comma = std::min(text.find(','), text.size());
    if (!parse_clause(text.substr(0, comma), change)) return std::nullopt;
    if (comma == text.size()) return change;
    text.remove_prefix(comma + 1);
  }
}

std::uint32_t ModeChange::apply(std::uint32_t permissions, bool directory, std::uint32_t mask) const {
  for (const Step& step : steps_) {
    std::uint32_t value = step.value;
    switch (step.bits) {
      case Bits::named:
        break;
      case Bits::execute_if_any:
        if (directory || (permissions & kExecute) != 0) value |= kExecute;
        break;
      case Bits::copy_user:
        value = for_everyone(permissions >> 6U & 7U);
        break;
      case Bits::copy_group:
        value = for_everyone(permissions >> 3U & 7U);
        break;
      case Bits::copy_other:
        value = for_everyone(permissions & 7U);
        break;
    }
    const std::uint32_t kept = directory ? kSetIds & ~step.mentioned : 0;
    const std::uint32_t affected = step.affected == 0 ? kAll : step.affected;
    value &= affected & ~kept;
    if (step.affected == 0) value &= ~mask;
    if (step.operation == '+') {
      permissions |= value;
    } else if (step.operation == '-') {
      permissions &= ~value;
    } else {
      permissions = (permissions & ~(affected & ~kept)) | value;
    }
  }
  return permissions & kAll;
}

std::string mode_text(FileKind kind, std::uint32_t permissions) {
  static constexpr std::string_view kKinds = "-dlcbps";
  std::string text(1, kKinds[static_cast<std::size_t>(kind)]);
  for (unsigned who = 0; who < 3; ++who) {
    const std::uint32_t bits = permissions >> (6 - 3 * who) & 7U;
    const bool special = (permissions & (04000U >> who)) != 0;
    text += (bits & 4U) != 0 ? 'r' : '-';
    text += (bits & 2U) != 0 ? 'w' : '-';
    const char with = who == 2 ? 't' : 's';
    const char without = who == 2 ? 'T' : 'S';
    text += special ? ((bits & 1U) != 0 ? with : without) : ((bits & 1U) != 0 ? 'x' : '-');
  }
  return text;
}

static_assert(static_cast<int>(FileKind::regular) == 0 && static_cast<int>(FileKind::directory) == 1 &&
              static_cast<int>(FileKind::symlink) == 2 && static_cast<int>(FileKind::character_device) == 3 &&
              static_cast<int>(FileKind::block_device) == 4 && static_cast<int>(FileKind::fifo) == 5 &&
              static_cast<int>(FileKind::socket) == 6);

const char* kind_text(FileKind kind) {
  switch (kind) {
    case FileKind::regular:
      return "regular file";
    case FileKind::directory:
      return "directory";
    case FileKind::symlink:
      return "symbolic link";
    case FileKind::character_device:
      return "character special file";
    case FileKind::block_device:
      return "block special file";
    case FileKind::fifo:
      return "fifo";
    case FileKind::socket:
      return "socket";
  }
  return "unknown";
}

const char* kind_word(FileKind kind) {
  switch (kind) {
    case FileKind::regular:
      return "file";
    case FileKind::directory:
      return "directory";
    case FileKind::symlink:
      return "symlink";
    case FileKind::character_device:
      return "character-device";
    case FileKind::block_device:
      return "block-device";
    case FileKind::fifo:
      return "fifo";
    case FileKind::socket:
      return "socket";
  }
  return "unknown";
}

std::uint32_t current_umask() {
  const mode_t mask = umask(022);
  umask(mask);
  return mask;
}

}  // namespace holdfast::cli
