#include "ext4/opener.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>

#include "base/fault_point.h"

namespace holdfast::ext4 {
namespace {

constexpr const char* kProgram = "holdfast";
constexpr const char* kSuspect = "suspect";

std::string this_boot() {
  if (HF_FAULT_POINT("ext4.another_boot")) return "another-boot";
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  return boot.empty() ? "unknown" : boot;
}

}  // namespace

Opener this_opener() { return {this_boot(), static_cast<std::uint32_t>(getpid()), false}; }

std::optional<Opener> opener_of(const ext2_super_block& super) {
  const auto* text = reinterpret_cast<const char*>(super.s_last_mounted);
  std::istringstream words(std::string(text, strnlen(text, sizeof(super.s_last_mounted))));
  std::string program;
  Opener opener;
  if (!(words >> program >> opener.boot >> opener.pid) || program != kProgram) return std::nullopt;
  std::string suspect;
  opener.left_suspects = words >> suspect && suspect == kSuspect;
  return opener;
}

void set_opener(ext2_super_block& super, const std::optional<Opener>& opener) {
  std::string text;
  if (opener) {
    text = fmt::format("{} {} {}{}{}", kProgram, opener->boot, opener->pid, opener->left_suspects ? " " : "",
                       opener->left_suspects ? kSuspect : "");
  }
  text.resize(sizeof(super.s_last_mounted));
  std::copy(text.begin(), text.end(), reinterpret_cast<char*>(super.s_last_mounted));
}

}  // namespace holdfast::ext4
