// The outcomes as text: a table, JSON, and a self-contained page with plots.
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/bench.h"

namespace holdfast::cli::bench {
namespace {

std::string aim_of(const Case& what) {
  std::string aim;
  if (what.ratio_max) aim = fmt::format("<= {:g}", *what.ratio_max);
  if (what.nanoseconds_max) aim += (aim.empty() ? "<= " : ", <= ") + human_time(*what.nanoseconds_max);
  return aim;
}

// What is told of memory, where it was taken.
std::string resident_of(const Outcome& outcome) {
  if (outcome.ours.resident <= 0) return "";
  return fmt::format("{} resident", human_bytes(outcome.ours.resident));
}

std::string verdict_of(const Outcome& outcome) {
  if (!outcome.what->ratio_max && !outcome.what->nanoseconds_max) return "";
  return outcome.met ? "met" : "MISSED";
}

nlohmann::json to_json(const Figures& figures) {
  nlohmann::json json{{"median_ns", figures.median}, {"q25_ns", figures.low}, {"q75_ns", figures.high}};
  if (figures.p99 > 0) json["p99_ns"] = figures.p99;
  if (figures.resident > 0) json["resident_bytes"] = figures.resident;
  return json;
}

nlohmann::json to_json(const Outcome& outcome) {
  nlohmann::json json{{"row", outcome.what->row}, {"name", outcome.what->name}, {"against", outcome.what->against}};
  if (!outcome.skipped.empty()) {
    json["skipped"] = outcome.skipped;
    return json;
  }
  json["ours"] = to_json(outcome.ours);
  if (outcome.comparator) json["comparator"] = to_json(*outcome.comparator);
  if (outcome.ratio) json["ratio"] = *outcome.ratio;
  if (outcome.what->ratio_max) json["aim_ratio"] = *outcome.what->ratio_max;
  if (outcome.what->nanoseconds_max) json["aim_ns"] = *outcome.what->nanoseconds_max;
  json["met"] = outcome.met;
  return json;
}

std::string escaped(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    switch (c) {
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '&':
        safe += "&amp;";
        break;
      default:
        safe += c;
    }
  }
  return safe;
}

// A bar on a logarithmic scale of ratios from 1/1000 to 10, with the aim and "equal" marked.
std::string ratio_bar(const Outcome& outcome) {
  if (!outcome.ratio) return "";
  const auto position = [](double ratio) {
    return std::clamp((std::log10(std::max(ratio, 1e-6)) + 3) / 4, 0.0, 1.0) * 300;
  };
  std::string svg =
      R"(<svg width="304" height="16" role="img"><rect x="0" y="2" width="300" height="12" class="back"/>)";
  svg += fmt::format(R"(<rect x="0" y="2" width="{:.1f}" height="12" class="{}"/>)", position(*outcome.ratio),
                     outcome.met ? "met" : "missed");
  svg += fmt::format(R"(<line x1="{0:.1f}" x2="{0:.1f}" y1="0" y2="16" class="equal"/>)", position(1));
  if (outcome.what->ratio_max) {
    svg += fmt::format(R"(<line x1="{0:.1f}" x2="{0:.1f}" y1="0" y2="16" class="aim"/>)",
                       position(*outcome.what->ratio_max));
  }
  return svg + "</svg>";
}

constexpr const char* kStyle = R"(
body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .7rem;border-bottom:1px solid #d8dee4}
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}.back{fill:#eef1f4}.met{fill:#2da44e}
.missed{fill:#cf222e}.equal{stroke:#57606a;stroke-dasharray:2 2}.aim{stroke:#0969da;stroke-width:2}
td.met{color:#1a7f37}td.missed{color:#cf222e;font-weight:600}p.note{color:#57606a}
)";

// Three digits, in the largest unit that it fills.
std::string scaled(double value, double step, const std::array<const char*, 4>& units) {
  std::size_t unit = 0;
  while (value >= step && unit + 1 < units.size()) {
    value /= step;
    ++unit;
  }
  return fmt::format("{:.3g} {}", value, units.at(unit));
}

}  // namespace

std::string human_time(double nanoseconds) { return scaled(nanoseconds, 1000, {"ns", "us", "ms", "s"}); }
std::string human_bytes(double bytes) { return scaled(bytes, 1024, {"B", "KiB", "MiB", "GiB"}); }

std::string machine_description() {
  utsname name{};
  uname(&name);
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string model = "unknown processor";
  for (std::string line; std::getline(cpuinfo, line);) {
    if (!line.starts_with("model name")) continue;
    model = line.substr(line.find(':') + 2);
    break;
  }
  return fmt::format("{} {}, {} x {}, {} GiB", name.sysname, name.release, sysconf(_SC_NPROCESSORS_ONLN), model,
                     sysconf(_SC_PHYS_PAGES) / 1024 * (sysconf(_SC_PAGESIZE) / 1024) / 1024);
}

std::string as_table(const std::vector<Outcome>& outcomes) {
  std::string table = fmt::format("{:>3}  {:<42} {:>10} {:>19} {:>10}  {:<32} {:>10} {:>8}  {}\n", "row", "operation",
                                  "median", "quartiles", "p99", "against", "median", "ratio", "aim");
  for (const Outcome& outcome : outcomes) {
    const Case& what = *outcome.what;
    if (!outcome.skipped.empty()) {
      table += fmt::format("{:>3}  {:<42} not measured: {}\n", what.row, what.name, outcome.skipped);
      continue;
    }
    table += fmt::format("{:>3}  {:<42} {:>10} {:>19} {:>10}  {:<32} {:>10} {:>8}  {} {} {}\n", what.row, what.name,
                         human_time(outcome.ours.median),
                         fmt::format("{}..{}", human_time(outcome.ours.low), human_time(outcome.ours.high)),
                         outcome.ours.p99 > 0 ? human_time(outcome.ours.p99) : "", what.against,
                         outcome.comparator ? human_time(outcome.comparator->median) : "",
                         outcome.ratio ? fmt::format("{:.3g}", *outcome.ratio) : "", aim_of(what), verdict_of(outcome),
                         resident_of(outcome));
  }
  return table;
}

std::string as_json(const std::vector<Outcome>& outcomes) {
  nlohmann::json json{{"machine", machine_description()}, {"results", nlohmann::json::array()}};
  for (const Outcome& outcome : outcomes) json["results"].push_back(to_json(outcome));
  return json.dump(2) + "\n";
}

std::string as_html(const std::vector<Outcome>& outcomes) {
  std::string html = fmt::format(
      "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Holdfast: performance</title><style>{}</style>"
      "<h1>Holdfast: performance</h1><p>{}</p><p class=\"note\">Ours and the comparator ran in turn in one process; "
      "the ratio is ours / comparator, on a logarithmic scale from 1/1000 to 10. Dashed: equal. Blue: the aim.</p>"
      "<table><tr><th>Row<th>Operation<th>Ours<th>Against<th>Comparator<th>Ratio<th><th>Aim</tr>",
      kStyle, escaped(machine_description()));
  for (const Outcome& outcome : outcomes) {
    const Case& what = *outcome.what;
    if (!outcome.skipped.empty()) {
      html += fmt::format("<tr><td class=n>{}<td>{}<td colspan=6>not measured: {}</tr>", what.row, escaped(what.name),
                          escaped(outcome.skipped));
      continue;
    }
    html += fmt::format(
        "<tr><td class=n>{}<td>{}<td class=n>{}{}<td>{}<td class=n>{}<td class=n>{}<td>{}<td class=\"{}\">{} {}</tr>",
        what.row, escaped(what.name), human_time(outcome.ours.median),
        (outcome.ours.p99 > 0 ? fmt::format("<br>p99 {}", human_time(outcome.ours.p99)) : "") +
            (outcome.ours.resident > 0 ? "<br>" + resident_of(outcome) : ""),
        escaped(what.against), outcome.comparator ? human_time(outcome.comparator->median) : "",
        outcome.ratio ? fmt::format("{:.3g}", *outcome.ratio) : "", ratio_bar(outcome), outcome.met ? "met" : "missed",
        escaped(aim_of(what)), verdict_of(outcome));
  }
  return html + "</table></html>\n";
}

}  // namespace holdfast::cli::bench
