// The performance table: what is measured, against what, and how the figures are told.
//
// Every case runs ours and its comparator in turn (A B A B), several rounds, in one process; what counts is the ratio.
// Machines are noisy: medians with quartiles are shown, and nothing here is an assertion.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <holdfast/error.h>

namespace holdfast::cli::bench {

// One round's outcome: nanoseconds an operation; the tail where operations were timed one by one.
struct Sample {
  double nanoseconds = 0;
  double p99_nanoseconds = 0;  // 0: not taken
  double resident_bytes = 0;   // memory that the operation made resident; 0: not taken
};

// A prepared measurement. Destroyed when its rounds are over; whatever it made goes with it.
class Scenario {
 public:
  virtual ~Scenario() = default;
  virtual Result<Sample> ours() = 0;
  virtual Result<Sample> comparator() = 0;
};

struct Case {
  int row = 0;                            // of the performance table
  std::string name;                       // "pin + unpin one 4 KiB page"
  std::string against;                    // "two bare atomics"; empty: nothing, the figure stands alone
  std::optional<double> ratio_max;        // the aim, ours / comparator
  std::optional<double> nanoseconds_max;  // the aim, absolute
  std::function<Result<std::unique_ptr<Scenario>>()> prepare;
  unsigned rounds = 9;
};

struct Figures {
  double median = 0;
  double low = 0;       // lower quartile
  double high = 0;      // upper quartile
  double p99 = 0;       // median of the rounds' tails; 0: not taken
  double resident = 0;  // bytes, median of the rounds; 0: not taken
};

struct Outcome {
  const Case* what = nullptr;
  Figures ours;
  std::optional<Figures> comparator;
  std::optional<double> ratio;  // median of the rounds' ratios
  bool met = true;              // the aim, where there is one
  std::string skipped;          // why, when it was not measured
};

// The rows, each from its own file.
void add_pin_cases(std::vector<Case>& cases);
void add_bytes_cases(std::vector<Case>& cases);
void add_truncate_cases(std::vector<Case>& cases);
void add_window_cases(std::vector<Case>& cases);
void add_name_cases(std::vector<Case>& cases);
void add_sync_cases(std::vector<Case>& cases);
void add_mount_cases(std::vector<Case>& cases);
std::vector<Case> all_cases();

// Runs one case; a scenario that cannot be prepared is skipped with the reason.
Outcome run(const Case& what);

std::string machine_description();
std::string as_table(const std::vector<Outcome>& outcomes);
std::string as_json(const std::vector<Outcome>& outcomes);
// A self-contained page with plots.
std::string as_html(const std::vector<Outcome>& outcomes);
// "12.3 ns", "4.56 us": three digits and a unit.
std::string human_time(double nanoseconds);
// "412 KiB".
std::string human_bytes(double bytes);

}  // namespace holdfast::cli::bench
