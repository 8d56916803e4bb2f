// An image mounted by the kernel on a directory of its own, until the object goes.
#pragma once

#include <string>

#include "support/scratch.h"

namespace holdfast::test {

class LoopMount {
 public:
  // `options` of mount -o, beside `loop`.
  explicit LoopMount(const std::string& image, const std::string& options = "rw");
  ~LoopMount();
  LoopMount(const LoopMount&) = delete;
  LoopMount& operator=(const LoopMount&) = delete;

  // Why there is no mount; empty when there is one.
  const std::string& refusal() const { return refusal_; }
  std::string path(const std::string& name) const { return directory_.file(name); }

 private:
  ScratchDirectory directory_;
  std::string refusal_;
};

}  // namespace holdfast::test
