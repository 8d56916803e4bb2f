// Goal: the progress line tells what is done, fits the terminal, and is seen on a terminal only.
// Method: the line at given moments; the streams of a copy that is and is not on a terminal.
#include "cli/progress.h"

#include <gtest/gtest.h>

#include <sstream>

namespace holdfast::cli {
namespace {

using Seconds = std::chrono::duration<double>;

struct Streams {
  std::ostringstream out;
  std::ostringstream err;
  Io io{out, err};
};

TEST(Progress, TellsBytesFilesRateAndTimeLeft) {
  Streams streams;
  Progress progress(streams.io, false);
  progress.expect(100 << 20, 10);
  progress.advance(25 << 20);
  progress.file_done();
  const std::string line = progress.line(Seconds(2), 120);
  EXPECT_EQ(line, "[##########..............................] 25M of 100M  1 of 10 files  13MB/s  6.0 s left");
}

TEST(Progress, FitsTheTerminal) {
  Streams streams;
  Progress progress(streams.io, false);
  progress.expect(100 << 20, 10);
  progress.advance(25 << 20);
  for (int columns = 0; columns < 130; ++columns) {
    EXPECT_LE(progress.line(Seconds(2), columns).size(), static_cast<std::size_t>(columns));
  }
}

TEST(Progress, MoreThanExpectedIsFull) {
  Streams streams;
  Progress progress(streams.io, false);
  progress.expect(10, 1);
  progress.advance(20);
  EXPECT_EQ(progress.line(Seconds(1), 120),
            "[########################################] 20 of 20  0 of 1 files  20B/s  0 ms left");
}

TEST(Progress, NothingKnownYet) {
  Streams streams;
  const Progress progress(streams.io, false);
  EXPECT_EQ(progress.line(Seconds(0), 120), "[........................................] 0 of 0  0 of 0 files  -");
}

TEST(Progress, DrawnOnATerminalAndClearedAtTheEnd) {
  Streams streams;
  streams.io.err_is_terminal = true;
  {
    Progress progress(streams.io, false);
    progress.expect(10, 1);
    progress.advance(5);
    EXPECT_NE(streams.err.str().find("5 of 10"), std::string::npos);
    const std::string once = streams.err.str();
    progress.advance(1);
    EXPECT_EQ(streams.err.str(), once) << "not more than ten times a second";
  }
  const std::string drawn = streams.err.str();
  EXPECT_EQ(drawn.substr(drawn.size() - 4), "\r\033[K");
}

TEST(Progress, SilentInAPipeAndWhenQuiet) {
  for (const bool terminal : {false, true}) {
    Streams streams;
    streams.io.err_is_terminal = terminal;
    {
      Progress progress(streams.io, terminal);
      progress.advance(5);
      progress.file_done();
    }
    EXPECT_EQ(streams.err.str(), "");
  }
}

TEST(Duration, InWords) {
  EXPECT_EQ(duration_text(Seconds(0.095)), "95 ms");
  EXPECT_EQ(duration_text(Seconds(12.34)), "12.3 s");
  EXPECT_EQ(duration_text(Seconds(245)), "4:05");
  EXPECT_EQ(duration_text(Seconds(3723)), "1:02:03");
}

}  // namespace
}  // namespace holdfast::cli
