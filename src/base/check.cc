#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace holdfast {

void check_failed(const char* file, int line, const char* condition, const std::string& text) {
  static_cast<void>(
      std::fprintf(stderr, "holdfast: %s:%d: check failed: %s: %s\n", file, line, condition, text.c_str()));
  std::abort();
}

}  // namespace holdfast
