// Where a command speaks, so that a test can listen: two streams, and what is known of the terminals behind them.
#pragma once

#include <ostream>

#include <holdfast/error.h>

namespace holdfast::cli {

struct Io {
  std::ostream& out;  // results
  std::ostream& err;  // errors, notes and the progress bar
  bool out_is_terminal = false;
  bool err_is_terminal = false;
  int columns = 80;  // width of the terminal behind err
};

// Exit codes of every command but `check`.
inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;

// "holdfast: OBJECT: reason; remedy", in one line, whatever bytes the object's name is made of. Returns kFailed.
int complain(Io& io, const Error& error);

// The same for something that is no failure.
void note(Io& io, const std::string& object, const std::string& text);

// kDone, or the complaint.
int outcome(Io& io, const Status& status);

// Text as one line: control characters and bytes that are not UTF-8 become \ooo. Everything else stays as it is.
std::string one_line(const std::string& text);

// A name for a listing: as it is into a pipe, one_line() onto a terminal.
std::string shown(const Io& io, const std::string& name);

}  // namespace holdfast::cli
