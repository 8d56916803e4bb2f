#include "bad/judge.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

namespace holdfast::test {
namespace {

constexpr int kTimedOut = 124;  // as timeout(1) says it
constexpr int kKilled = 137;    // by timeout(1), or because it had its part of the processor
// Of an image of these sizes. Over a table of inodes in the wrong place it goes on for half a minute.
constexpr int kE2fsckProcessorSeconds = 8;

unsigned count(const std::string& text, const char* words) {
  unsigned found = 0;
  for (std::size_t at = text.find(words); at != std::string::npos; at = text.find(words, at + 1)) ++found;
  return found;
}

// Questions before the first pass are about superblock and descriptors. The exit status forgets their answers. One of
// them is about the clock, which may be wrong here as well as where the image was written.
bool asks_before_passes(const std::string& said) {
  const std::string before = said.substr(0, said.find("Pass 1"));
  return count(before, "? no") > count(before, "is in the future.\nFix? no") || count(before, "trying backup") != 0;
}

// Damage that e2fsck -n overlooks, and that we do not read over: said in one of these words.
constexpr const char* kOverlooked[] = {
    ": depth is ",  // of a node of an extent tree that says another one than its place
    // Of a tree that is empty: it asks, and forgets.
    " levels deep",
    ": extent root: magic is 0xf30a, depth ",
    // It marks tables of groups that have no bitmap yet in those of others, before it looks at them.
    "its block bitmap calls metadata free",
    // It looks at the list of orphans only when it may write, and then it complains as we do.
    ": the orphan list names inode ",
};

// Whether all that check found is such, and it found something.
bool overlooked(const Said& ours) {
  std::istringstream lines(ours.out + ours.err);
  unsigned known = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.find(": damaged: ") != std::string::npos || line.find(": e2fsck not asked") != std::string::npos) continue;
    const bool is_known = std::any_of(std::begin(kOverlooked), std::end(kOverlooked),
                                      [&line](const char* words) { return line.find(words) != std::string::npos; });
    if (!is_known) return false;
    ++known;
  }
  return known > 0;
}

// Whether check names what it does not know; there is no damage in that.
bool refused_by_name(const Said& ours) {
  constexpr const char* kNames[] = {"feature", "quotas or snapshots", "on another device", "operating system"};
  return ours.code == 8 && std::any_of(std::begin(kNames), std::end(kNames),
                                       [&ours](const char* name) { return ours.err.find(name) != std::string::npos; });
}

}  // namespace

std::string limited(const std::string& command, int processor_seconds) {
  // Where the shell says how a program ended belongs to what was said.
  return fmt::format("exec 2>&1; ( ulimit -t {}; exec timeout -k 1 {} {} ); exit $?", processor_seconds, kClockSeconds,
                     command);
}

bool ran_too_long(int code) { return code == kTimedOut || code == kKilled; }

int e2fsck(const std::string& pool, std::string& said) {
  return shell(
      "PATH=$PATH:/sbin:/usr/sbin; export LC_ALL=C; " + limited("e2fsck -fn '" + pool + "'", kE2fsckProcessorSeconds),
      &said);
}

bool has_e2fsprogs() { return shell("PATH=$PATH:/sbin:/usr/sbin command -v e2fsck mke2fs") == 0; }

Judge::Outcome Judge::compare(const Said& ours, int theirs, const std::string& said) {
  const bool asked = said.find("? no") != std::string::npos;
  if (ran_too_long(theirs) && !asked) return Outcome::unjudged;
  const bool they_find = theirs != 0 || asks_before_passes(said);
  const bool we_find = ours.code != 0;
  if (we_find && they_find) return Outcome::both_find;
  if (they_find) return Outcome::e2fsck_alone;
  if (!we_find) return Outcome::both_clean;
  if (refused_by_name(ours)) return Outcome::refused;
  return overlooked(ours) ? Outcome::overlooked : Outcome::check_alone;
}

void Judge::judge(const std::string& pool, const Said& ours, const std::string& damage) {
  std::string said;
  const int theirs = e2fsck(pool, said);
  const Outcome outcome = compare(ours, theirs, said);
  ++counts_[static_cast<std::size_t>(outcome)];
  if (outcome != Outcome::e2fsck_alone && outcome != Outcome::check_alone) return;
  ADD_FAILURE() << name_ << ": " << damage << "\ne2fsck ended with " << theirs << ":\n"
                << said.substr(0, 2000) << "\ncheck ended with " << ours.code << ":\n"
                << (ours.out + ours.err).substr(0, 2000);
}

std::string Judge::counts() const {
  const auto of = [this](Outcome outcome) { return counts_[static_cast<std::size_t>(outcome)]; };
  return fmt::format(
      "{}: {} found by both, {} clean to both, {} e2fsck alone, {} check alone, {} overlooked by e2fsck as is known, "
      "{} refused by the name of a feature, {} not judged\n",
      name_, of(Outcome::both_find), of(Outcome::both_clean), of(Outcome::e2fsck_alone), of(Outcome::check_alone),
      of(Outcome::overlooked), of(Outcome::refused), of(Outcome::unjudged));
}

}  // namespace holdfast::test
