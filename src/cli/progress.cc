#include "cli/progress.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/size.h"

namespace holdfast::cli {
namespace {

constexpr auto kDrawInterval = std::chrono::milliseconds(100);

std::string rate_text(std::uint64_t bytes, double seconds) {
  if (seconds <= 0) return "-";
  return human_size(static_cast<std::uint64_t>(static_cast<double>(bytes) / seconds)) + "B/s";
}

}  // namespace

Progress::Progress(Io& io, bool quiet)
    : io_(io), shown_(io.err_is_terminal && !quiet), last_drawn_(start_ - kDrawInterval) {}

Progress::~Progress() { clear(); }

void Progress::expect(std::uint64_t bytes, std::uint64_t files) {
  bytes_expected_ = bytes;
  files_expected_ = files;
}

void Progress::advance(std::uint64_t bytes) {
  bytes_ += bytes;
  draw_if_due();
}

void Progress::file_done() {
  ++files_;
  draw_if_due();
}

void Progress::clear() {
  if (!drawn_) return;
  io_.err << "\r\033[K" << std::flush;
  drawn_ = false;
}

void Progress::draw_if_due() {
  if (!shown_) return;
  const Clock::time_point now = Clock::now();
  if (now - last_drawn_ < kDrawInterval) return;
  last_drawn_ = now;
  io_.err << '\r' << line(now - start_, io_.columns - 1) << "\033[K" << std::flush;
  drawn_ = true;
}

std::string Progress::line(std::chrono::duration<double> elapsed, int columns) const {
  const double seconds = elapsed.count();
  std::string text =
      fmt::format("{} of {}  {} of {} files  {}", human_size(bytes_), human_size(std::max(bytes_, bytes_expected_)),
                  files_, std::max(files_, files_expected_), rate_text(bytes_, seconds));
  double share = 0;
  if (bytes_expected_ > 0) {
    share = static_cast<double>(bytes_) / static_cast<double>(bytes_expected_);
  } else if (files_expected_ > 0) {
    share = static_cast<double>(files_) / static_cast<double>(files_expected_);
  }
  share = std::min(share, 1.0);
  if (share > 0) {
    text += "  " + duration_text(std::chrono::duration<double>(seconds / share - seconds)) + " left";
  }
  const std::size_t width = static_cast<std::size_t>(std::max(columns, 0));
  constexpr std::size_t kBarMin = 10;
  constexpr std::size_t kBarMax = 40;
  if (width >= text.size() + kBarMin + 3) {
    const std::size_t bar = std::min(width - text.size() - 3, kBarMax);
    const auto full = static_cast<std::size_t>(share * static_cast<double>(bar));
    text = "[" + std::string(full, '#') + std::string(bar - full, '.') + "] " + text;
  }
  if (text.size() > width) text.resize(width);
  return text;
}

std::string duration_text(std::chrono::duration<double> duration) {
  const double seconds = duration.count();
  if (seconds < 1) return fmt::format("{:.0f} ms", seconds * 1000);
  if (seconds < 60) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<std::uint64_t>(seconds);
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

}  // namespace holdfast::cli
