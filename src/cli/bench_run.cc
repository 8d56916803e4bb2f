// Running a case: its rounds, and the figures that are drawn from them.
#include <algorithm>
#include <cmath>
#include <utility>

#include "base/result.h"
#include "cli/bench.h"

namespace holdfast::cli::bench {
namespace {

double quantile(std::vector<double> values, double part) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double position = part * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(std::floor(position));
  const std::size_t above = std::min(below + 1, values.size() - 1);
  const double weight = position - std::floor(position);
  return values[below] * (1 - weight) + values[above] * weight;
}

Figures summarize(const std::vector<Sample>& samples) {
  std::vector<double> medians;
  std::vector<double> tails;
  std::vector<double> resident;
  for (const Sample& sample : samples) {
    medians.push_back(sample.nanoseconds);
    if (sample.p99_nanoseconds > 0) tails.push_back(sample.p99_nanoseconds);
    if (sample.resident_bytes > 0) resident.push_back(sample.resident_bytes);
  }
  return {quantile(medians, 0.5), quantile(medians, 0.25), quantile(medians, 0.75), quantile(tails, 0.5),
          quantile(resident, 0.5)};
}

struct Rounds {
  std::vector<Sample> ours;
  std::vector<Sample> comparator;
  std::vector<double> ratios;
};

Result<Rounds> run_rounds(const Case& what) {
  HF_ASSIGN(const std::unique_ptr<Scenario> scenario, what.prepare());
  Rounds rounds;
  for (unsigned round = 0; round < what.rounds + 1; ++round) {
    HF_ASSIGN(const Sample ours, scenario->ours());
    std::optional<Sample> theirs;
    if (!what.against.empty()) {
      HF_ASSIGN(theirs, scenario->comparator());
    }
    if (round == 0) continue;  // warms caches, and takes the first-use costs of both sides
    rounds.ours.push_back(ours);
    if (!theirs) continue;
    rounds.comparator.push_back(*theirs);
    rounds.ratios.push_back(ours.nanoseconds / theirs->nanoseconds);
  }
  return rounds;
}

}  // namespace

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  add_pin_cases(cases);
  add_bytes_cases(cases);
  add_truncate_cases(cases);
  add_window_cases(cases);
  add_name_cases(cases);
  add_sync_cases(cases);
  add_mount_cases(cases);
  return cases;
}

Outcome run(const Case& what) {
  Outcome outcome;
  outcome.what = &what;
  const Result<Rounds> rounds = run_rounds(what);
  if (!rounds) {
    outcome.skipped = rounds.error().message();
    return outcome;
  }
  outcome.ours = summarize(rounds->ours);
  if (!rounds->comparator.empty()) {
    outcome.comparator = summarize(rounds->comparator);
    outcome.ratio = quantile(rounds->ratios, 0.5);
  }
  if (what.ratio_max && outcome.ratio) outcome.met = *outcome.ratio <= *what.ratio_max;
  if (what.nanoseconds_max) outcome.met = outcome.met && outcome.ours.median <= *what.nanoseconds_max;
  return outcome;
}

}  // namespace holdfast::cli::bench
