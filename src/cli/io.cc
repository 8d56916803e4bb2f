#include "cli/io.h"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "cli/interrupt.h"

namespace holdfast::cli {
namespace {

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

// Bytes of the well-formed UTF-8 character at the start of `text`; 0: there is none.
std::size_t character_bytes(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const std::size_t bytes = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  if (bytes == 0 || text.size() < bytes) return 0;
  for (std::size_t i = 1; i < bytes; ++i) {
    if (!is_continuation(text[i])) return 0;
  }
  const auto second = bytes > 1 ? static_cast<unsigned char>(text[1]) : 0U;
  const bool overlong = (lead == 0xE0 && second < 0xA0) || (lead == 0xF0 && second < 0x90);
  const bool surrogate = lead == 0xED && second >= 0xA0;
  const bool beyond = lead == 0xF4 && second >= 0x90;
  return overlong || surrogate || beyond ? 0 : bytes;
}

// C0, DEL, and the C1 range that terminals obey, too.
bool is_control(std::string_view character) {
  const auto lead = static_cast<unsigned char>(character[0]);
  if (lead < 0x20 || lead == 0x7F) return true;
  return lead == 0xC2 && static_cast<unsigned char>(character[1]) < 0xA0;
}

}  // namespace

std::string one_line(const std::string& text) {
  std::string line;
  line.reserve(text.size());
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t bytes = character_bytes(rest);
    if (bytes != 0 && !is_control(rest.substr(0, bytes))) {
      line += rest.substr(0, bytes);
      rest.remove_prefix(bytes);
    } else {
      line += fmt::format("\\{:03o}", static_cast<unsigned char>(rest[0]));
      rest.remove_prefix(1);
    }
  }
  return line;
}

std::string shown(const Io& io, const std::string& name) { return io.out_is_terminal ? one_line(name) : name; }

int complain(Io& io, const Error& error) {
  io.out.flush();  // what was printed before stands before
  if (nobody_listens()) return kFailed;
  io.err << "holdfast: " << one_line(error.message()) << '\n' << std::flush;
  return kFailed;
}

void note(Io& io, const std::string& object, const std::string& text) {
  io.out.flush();
  io.err << "holdfast: " << one_line(object + ": " + text) << '\n' << std::flush;
}

int outcome(Io& io, const Status& status) { return status ? kDone : complain(io, status.error()); }

}  // namespace holdfast::cli
