// An inode as pins see it.
#pragma once

#include "filesystem/core.h"
#include "filesystem/inode.h"
#include "pin/source.h"

namespace holdfast::filesystem {

// For the fast way (pin/fast.h): looks each part up when it is asked for.
struct InodeTarget {
  Inode& inode;
  mapping::Mapping& mapping() const { return inode.mapping; }
  const Atomic<std::uint64_t>& size() const { return inode.size; }
  std::byte* window() const { return inode.core.window(); }
};

inline pin::Target target_of(Inode& inode) { return {inode.mapping, inode.size, inode.core.window()}; }

class PinSource final : public pin::Source {
 public:
  explicit PinSource(Inode& inode) : inode_(inode) {}
  pin::Target target() override { return target_of(inode_); }
  std::string name() const override { return inode_.path_hint(); }
  Status track(PageRange range, Access access, Deadline deadline) override;

 private:
  Inode& inode_;
};

}  // namespace holdfast::filesystem
