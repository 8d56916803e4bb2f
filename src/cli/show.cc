#include "cli/show.h"

#include <fmt/format.h>

#include <ctime>
#include <iomanip>
#include <sstream>

#include "cli/mode.h"

namespace holdfast::cli {
namespace {

// strftime on a time that may be out of what a calendar can say: then the seconds as a number.
std::string calendar(TimeStamp time, const char* format, bool local) {
  const std::time_t seconds = time.seconds;
  std::tm parts{};
  const std::tm* const known = local ? localtime_r(&seconds, &parts) : gmtime_r(&seconds, &parts);
  if (known == nullptr) return fmt::format("{}", time.seconds);
  std::ostringstream text;
  text << std::put_time(&parts, format);
  return text.str();
}

}  // namespace

void print_json(Io& io, const Json& json) {
  io.out << json.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
}

std::string counted(std::uint64_t count, const char* one, const char* many) {
  return fmt::format("{} {}", count, count == 1 ? one : many);
}

std::string full_time(TimeStamp time) {
  return fmt::format("{}.{:09d} {}", calendar(time, "%Y-%m-%d %H:%M:%S", true), time.nanoseconds,
                     calendar(time, "%z", true));
}

std::string short_time(TimeStamp time, std::int64_t now_seconds) {
  constexpr std::int64_t kHalfYear = 31556952 / 2;
  const bool recent = time.seconds <= now_seconds && time.seconds > now_seconds - kHalfYear;
  return calendar(time, recent ? "%b %e %H:%M" : "%b %e  %Y", true);
}

std::string json_time(TimeStamp time) {
  return fmt::format("{}.{:09d}Z", calendar(time, "%Y-%m-%dT%H:%M:%S", false), time.nanoseconds);
}

Json stat_json(const Stat& stat) {
  Json json;
  json["inode"] = stat.inode;
  json["type"] = kind_word(stat.kind);
  json["mode"] = fmt::format("{:04o}", stat.permissions);
  json["links"] = stat.links;
  json["uid"] = stat.uid;
  json["gid"] = stat.gid;
  json["size"] = stat.size;
  json["allocated"] = stat.allocated;
  json["accessed"] = json_time(stat.accessed);
  json["modified"] = json_time(stat.modified);
  json["changed"] = json_time(stat.changed);
  json["created"] = json_time(stat.created);
  if (stat.kind == FileKind::character_device || stat.kind == FileKind::block_device) {
    json["device"] = fmt::format("{}:{}", stat.device_major, stat.device_minor);
  }
  return json;
}

}  // namespace holdfast::cli
