#include "filesystem/inode.h"

#include "base/check.h"
#include "filesystem/core.h"
#include "filesystem/times.h"
#include "filesystem/windows.h"

namespace holdfast::filesystem {

Inode::Inode(Core& core_in, InodeNumber number_in, const Attributes& attributes_in)
    : core(core_in),
      number(number_in),
      type(attributes_in.type),
      attributes(attributes_in),
      size(attributes_in.size),
      access_due(access_time_due(attributes_in)),
      extents(&core_in.device().poison()),
      release_hook(new ReleaseHook(core_in.worker(), *this)),
      mapping(core_in.pages(), *release_hook, {core_in.id(), raw(number_in)},
              core_in.stores_are_durable() ? mapping::Marks::kept : mapping::Marks::none) {
  // Whatever an object before this one left to the next commit.
  if (core.stores_are_durable()) reach.in_commit = core.format().next_commit();
  unmarked_stores = core.stores_are_durable() && core.format().recovery().unclean;
}

Inode::~Inode() {
  HF_DEBUG_CHECK(references_.load() == 0, "inode {} ends with {} references", raw(number), references_.load());
}

std::string Inode::path_hint() const {
  std::string path = known_path();
  return path.empty() ? fmt::format("inode {}", raw(number)) : path;
}

std::string Inode::known_path() const {
  const MutexLock guard(hint_lock_);
  return path_hint_;
}

void Inode::set_path_hint(std::string_view path) {
  const MutexLock guard(hint_lock_);
  path_hint_ = path;
}

InodeRef& InodeRef::operator=(InodeRef&& other) noexcept {
  if (this != &other) {
    drop();
    inode_ = other.inode_;
    other.inode_ = nullptr;
  }
  return *this;
}

InodeRef InodeRef::share() const {
  // relaxed: the reference shared keeps the object.
  if (inode_ != nullptr) inode_->references_.fetch_add(1, std::memory_order_relaxed);
  return InodeRef(inode_);
}

InodeRef::~InodeRef() { drop(); }

void InodeRef::drop() noexcept {
  if (inode_ == nullptr) return;
  Inode& inode = *inode_;
  inode_ = nullptr;
  // Not the last one: no lock. The step to 0 is the table's, which decides under its mutex what follows.
  std::uint32_t seen = inode.references_.load(std::memory_order_relaxed);
  while (seen > 1) {
    // release: what was done through the reference comes before the object's end. Partner: released().
    if (inode.references_.compare_exchange_weak(seen, seen - 1, std::memory_order_release)) return;
  }
  inode.core.inodes().released(inode);
}

}  // namespace holdfast::filesystem
