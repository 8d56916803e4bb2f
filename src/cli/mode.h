// Permission bits as text: what chmod takes and what ls shows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <holdfast/file.h>

namespace holdfast::cli {

// A change of permissions as chmod(1) takes it: "755", "u+x,g-w", "a=rX", "g=u", "+t".
class ModeChange {
 public:
  // Nothing: the text is no mode.
  static std::optional<ModeChange> parse(std::string_view text);

  // The twelve bits after the change. `mask` is the umask, which bounds clauses that name nobody ("+x"). A directory
  // keeps its set-id bits unless the change names them (an octal mode of five digits does).
  std::uint32_t apply(std::uint32_t permissions, bool directory, std::uint32_t mask) const;

 private:
  enum class Bits : std::uint8_t { named, execute_if_any, copy_user, copy_group, copy_other };
  struct Step {
    char operation = '=';  // '+', '-' or '='
    Bits bits = Bits::named;
    std::uint32_t affected = 0;  // the bits of those whom it speaks of; 0: nobody was named
    std::uint32_t value = 0;
    std::uint32_t mentioned = 0;  // set-id bits that it names
  };
  static bool parse_octal(std::string_view text, ModeChange& change);
  static bool parse_clause(std::string_view clause, ModeChange& change);
  static std::size_t parse_step(std::string_view text, std::uint32_t affected, Step& step);

  std::vector<Step> steps_;
};

// "drwxr-xr-x", with s, S, t and T where they belong.
std::string mode_text(FileKind kind, std::uint32_t permissions);

// "regular file", "directory", "symbolic link" and so on.
const char* kind_text(FileKind kind);

// The word for kinds in JSON: "file", "directory", "symlink", "character-device", "block-device", "fifo", "socket".
const char* kind_word(FileKind kind);

// The process's umask, which it does not change.
std::uint32_t current_umask();

}  // namespace holdfast::cli
