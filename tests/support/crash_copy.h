// Copies of an image file as a crash at a mark would leave it: what was stored so far is there, what comes later is
// not.
#pragma once

#include <atomic>
#include <string>

namespace holdfast::test {

// From now on, until it goes: the first time, or that of the number given, that any thread reaches `mark`, the file is
// copied.
class CrashCopy {
 public:
  CrashCopy(std::string mark, std::string image, std::string copy, unsigned passing = 1);
  ~CrashCopy();
  CrashCopy(const CrashCopy&) = delete;
  CrashCopy& operator=(const CrashCopy&) = delete;

  bool taken() const { return taken_.load(); }

 private:
  static void reached(void* context, const char* name);

  const std::string mark_;
  const std::string image_;
  const std::string copy_;
  std::atomic<unsigned> left_;
  std::atomic<bool> taken_{false};
};

// Copies a file, holes kept. A failure is a failure of the test.
void copy_image(const std::string& from, const std::string& to);

}  // namespace holdfast::test
