// The progress of a long command: a bar with bytes, files, rate and time left, on a terminal only.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "cli/io.h"

namespace holdfast::cli {

class Progress {
 public:
  using Clock = std::chrono::steady_clock;

  // Draws on io.err when that is a terminal, unless `quiet`.
  Progress(Io& io, bool quiet);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();  // clears the line

  // Whether anything is drawn, so that a total is worth finding out.
  bool shown() const { return shown_; }
  void expect(std::uint64_t bytes, std::uint64_t files);

  // Draws at most ten times a second.
  void advance(std::uint64_t bytes);
  void file_done();

  // Takes the bar away, so that a line can be printed; the next advance draws it again.
  void clear();

  std::uint64_t bytes() const { return bytes_; }
  std::uint64_t files() const { return files_; }
  std::chrono::duration<double> elapsed() const { return Clock::now() - start_; }

  // The line at a moment, `columns` wide at most: for draw() and for tests.
  std::string line(std::chrono::duration<double> elapsed, int columns) const;

 private:
  void draw_if_due();

  Io& io_;
  bool shown_;
  bool drawn_ = false;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_drawn_;
  std::uint64_t bytes_ = 0;
  std::uint64_t files_ = 0;
  std::uint64_t bytes_expected_ = 0;
  std::uint64_t files_expected_ = 0;
};

// "95 ms", "12.3 s", "4:05", "1:02:03".
std::string duration_text(std::chrono::duration<double> duration);

}  // namespace holdfast::cli
