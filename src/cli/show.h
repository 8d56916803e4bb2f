// How commands print times and JSON.
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>

#include <holdfast/file.h>

#include "cli/io.h"

namespace holdfast::cli {

using Json = nlohmann::ordered_json;

// Indented, with a newline. Bytes of a name that are not UTF-8 become U+FFFD: JSON has no other way to say them.
void print_json(Io& io, const Json& json);

// Everything of a Stat, under the names that stat --json and ls --json share.
Json stat_json(const Stat& stat);

// "1 file", "2 files".
std::string counted(std::uint64_t count, const char* one, const char* many);

// "2026-11-22 12:33:58.123456789 +0000" in the local zone.
std::string full_time(TimeStamp time);

// As ls -l: "Nov 22 12:33", or "Nov 22  2024" for what lies more than half a year back or ahead.
std::string short_time(TimeStamp time, std::int64_t now_seconds);

// "2026-11-22T12:33:58.123456789Z".
std::string json_time(TimeStamp time);

}  // namespace holdfast::cli
