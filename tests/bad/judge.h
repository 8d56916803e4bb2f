// Whether `holdfast check`, without e2fsck, and `e2fsck -fn` agree about an image whether there is an error in it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "support/program.h"

namespace holdfast::test {

// `command` for shell(), within limits: so much of the processor, and of the clock only so much that nothing but a hang
// meets it, because a loaded machine is no failure.
inline constexpr int kProcessorSeconds = 20;
inline constexpr int kClockSeconds = 300;
std::string limited(const std::string& command, int processor_seconds = kProcessorSeconds);
// Whether a program ended by one of them.
bool ran_too_long(int code);

class Judge {
 public:
  // Of images of one name.
  explicit Judge(std::string name) : name_(std::move(name)) {}

  // Asks e2fsck about an image of which check said `ours`. A difference fails the test, with what was damaged.
  void judge(const std::string& pool, const Said& ours, const std::string& damage);
  // How often what was the case.
  std::string counts() const;

 private:
  enum class Outcome : std::uint8_t {
    both_find,
    both_clean,
    e2fsck_alone,
    check_alone,
    overlooked,  // by e2fsck, as is known
    refused,     // by us, by the name of a feature, which is no statement about damage
    unjudged,    // e2fsck took too long, and had found nothing yet
    count,
  };
  static Outcome compare(const Said& ours, int theirs, const std::string& said);

  std::string name_;
  std::array<unsigned, static_cast<std::size_t>(Outcome::count)> counts_{};
};

// The exit code of e2fsck -fn, and what it says.
int e2fsck(const std::string& pool, std::string& said);
bool has_e2fsprogs();

}  // namespace holdfast::test
