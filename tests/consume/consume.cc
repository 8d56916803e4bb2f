// Compiled against the installed headers and linked to the installed library: does one thing that needs both.
#include <holdfast/error.h>
#include <holdfast/types.h>

#include <cerrno>
#include <cstdio>

int main() {
  const holdfast::Error error(EBUSY, "pool.img", "in use");
  const holdfast::Result<std::uint64_t> size = 4 * holdfast::GiB;
  std::printf("%s\n", error.message().c_str());
  return size.has_value() && error.code() == EBUSY ? 0 : 1;
}
