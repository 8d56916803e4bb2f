// Copies of an image file as a crash at a mark would leave it: what was stored so far is there, what comes later is
// not.
#pragma once

#include <atomic>
#include <string>
#include <utility>

namespace holdfast::test {

// From now on, until it goes: the first time, or that of the number given, that any thread reaches `mark`, the file is
// copied.
class CrashCopy {
 public:
  CrashCopy(std::string mark, std::string image, std::string copy, unsigned passing = 1);
  ~CrashCopy();
  CrashCopy(const CrashCopy&) = delete;
  CrashCopy& operator=(const CrashCopy&) = delete;

  bool taken() const { return wanted_.taken.load(); }

 private:
  struct Wanted {
    Wanted(std::string at, std::string from, std::string to, unsigned passing)
        : mark(std::move(at)), image(std::move(from)), copy(std::move(to)), left(passing) {}
    const std::string mark;
    const std::string image;
    const std::string copy;
    std::atomic<unsigned> left;
    std::atomic<bool> taken{false};
  };
  static void reached(void* context, const char* name);

  Wanted& wanted_;  // kept for ever: a thread may be inside of reached() still
};

// Copies a file, holes kept. A failure is a failure of the test.
void copy_image(const std::string& from, const std::string& to);

}  // namespace holdfast::test
