#include "support/memory_format.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/fault_point.h"

namespace holdfast::test {

using filesystem::Attributes;
using filesystem::Extent;
using filesystem::FileType;
using filesystem::Handle;
using filesystem::Initial;
using filesystem::InodeNumber;
using filesystem::Name;
using filesystem::raw;
using filesystem::Reservation;

class MemoryFormat::MemoryHandle final : public Handle {
 public:
  MemoryHandle(MemoryFormat& format, const Reservation& reservation)
      : reserved_(reservation), open_(format.open_handles_) {
    HF_CHECK(!in_handle_, "a thread begins a second handle");
    in_handle_ = true;
    lock_order::acquiring(this, LockRank::handle, false);
  }
  ~MemoryHandle() override {
    lock_order::released(this);
    in_handle_ = false;
    HF_CHECK(extents_ <= reserved_.extents + 2, "{} extents changed, {} reserved", extents_, reserved_.extents);
    HF_CHECK(names_ <= reserved_.names, "{} names changed, {} reserved", names_, reserved_.names);
    HF_CHECK(inodes_.size() <= reserved_.inodes, "{} inodes changed, {} reserved", inodes_.size(), reserved_.inodes);
  }
  static MemoryHandle& of(Handle& handle) { return static_cast<MemoryHandle&>(handle); }

  void touch(InodeNumber inode) { inodes_.insert(raw(inode)); }
  void count_extents(std::size_t count) { extents_ += count; }
  void count_name() { ++names_; }

 private:
  static thread_local bool in_handle_;
  const Reservation reserved_;
  std::shared_lock<std::shared_mutex> open_;
  std::set<std::uint32_t> inodes_;
  std::size_t extents_ = 0;
  std::size_t names_ = 0;
};

thread_local bool MemoryFormat::MemoryHandle::in_handle_ = false;

MemoryFormat::MemoryFormat(const Options& options) : options_(options), used_(options.blocks.raw(), 0) {
  std::fill(used_.begin(), used_.begin() + kOwnBlocks, char{1});
  const std::uint64_t cluster = options.cluster.raw();
  // What does not fill a cluster at the end belongs to nobody.
  std::fill(used_.begin() + static_cast<std::ptrdiff_t>(round_down(used_.size(), cluster)), used_.end(), char{1});
  std::fill(used_.begin(), used_.begin() + static_cast<std::ptrdiff_t>(round_up(kOwnBlocks, cluster)), char{1});
  free_ = count_free();
  Node root;
  root.attributes.type = FileType::directory;
  root.attributes.permissions = 0755;
  root.attributes.links = 2;
  root.names["."] = {".", this->root(), FileType::directory};
  root.names[".."] = {"..", this->root(), FileType::directory};
  nodes_.emplace(2, std::move(root));
}

MemoryFormat::~MemoryFormat() {
  if (ending_ == nullptr) return;
  ending_->closed = closed_;
  ending_->clean = clean_;
  ending_->inodes = nodes_.size();
  ending_->free_pages = free_;
  for (const auto& [number, each] : nodes_) ending_->orphans += each.orphan ? 1 : 0;
}

std::uint64_t MemoryFormat::count_free() const {
  return static_cast<std::uint64_t>(std::count_if(used_.begin(), used_.end(), [](char state) { return state != 1; }));
}

bool MemoryFormat::owns(InodeNumber inode, Pfn pfn) {
  const std::lock_guard lock(mutex_);
  const auto found = nodes_.find(raw(inode));
  if (found == nodes_.end()) return false;
  return std::any_of(found->second.blocks.begin(), found->second.blocks.end(),
                     [pfn](const auto& block) { return block.second.pfn == pfn.raw(); });
}

bool MemoryFormat::is_orphan(InodeNumber inode) {
  const std::lock_guard lock(mutex_);
  const auto found = nodes_.find(raw(inode));
  return found != nodes_.end() && found->second.orphan;
}

std::uint64_t MemoryFormat::free_pages() {
  const std::lock_guard lock(mutex_);
  return free_;
}

Result<std::unique_ptr<Handle>> MemoryFormat::begin(const Reservation& reservation) {
  if (options_.read_only) return Error(EROFS, "memory format", "mounted for reading");
  if (HF_FAULT_POINT("format.begin")) return Error(EROFS, "memory format", "stopped after a write error");
  return std::unique_ptr<Handle>(std::make_unique<MemoryHandle>(*this, reservation));
}

Status MemoryFormat::commit() {
  const std::unique_lock drained(open_handles_);
  const std::lock_guard lock(mutex_);
  if (HF_FAULT_POINT("format.commit")) return Error(EIO, "memory format", "made to fail");
  ++commits_;
  std::replace(used_.begin(), used_.end(), char{2}, char{0});
  return {};
}

Status MemoryFormat::close(bool clean) {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  clean_ = clean;
  return {};
}

Result<MemoryFormat::Node*> MemoryFormat::node(InodeNumber inode) {
  const auto found = nodes_.find(raw(inode));
  if (found == nodes_.end()) return Error(ENOENT, fmt::format("inode {}", raw(inode)), "not in use");
  return &found->second;
}

Result<Attributes> MemoryFormat::read_inode(InodeNumber inode) {
  const std::lock_guard lock(mutex_);
  HF_ASSIGN(Node* const at, node(inode));
  Attributes attributes = at->attributes;
  attributes.allocated = at->blocks.size() * kPageBytes;
  return attributes;
}

Status MemoryFormat::write_inode(Handle& handle, InodeNumber inode, const Attributes& attributes) {
  const std::lock_guard lock(mutex_);
  HF_ASSIGN(Node* const at, node(inode));
  MemoryHandle::of(handle).touch(inode);
  at->attributes = attributes;
  return {};
}

Result<InodeNumber> MemoryFormat::create_inode(Handle& handle, InodeNumber, const Attributes& attributes) {
  const std::lock_guard lock(mutex_);
  if (nodes_.size() >= options_.inodes || HF_FAULT_POINT("format.create_inode")) {
    return Error(ENOSPC, "memory format", "no inode is free");
  }
  // The lowest number that is free, so that numbers are reused as eagerly as any format would.
  std::uint32_t number = next_inode_;
  while (nodes_.count(number) != 0) ++number;
  MemoryHandle::of(handle).touch(InodeNumber(number));
  Node fresh;
  fresh.attributes = attributes;
  nodes_.emplace(number, std::move(fresh));
  return InodeNumber(number);
}

Status MemoryFormat::free_inode(Handle& handle, InodeNumber inode) {
  const std::lock_guard lock(mutex_);
  HF_ASSIGN(Node* const at, node(inode));
  HF_CHECK(at->blocks.empty() && !at->orphan && at->attributes.links == 0,
           "inode {} is freed with {} blocks, {} links, orphan {}", raw(inode), at->blocks.size(), at->attributes.links,
           at->orphan);
  MemoryHandle::of(handle).touch(inode);
  nodes_.erase(raw(inode));
  return {};
}

Status MemoryFormat::add_orphan(Handle&, InodeNumber inode) {
  const std::lock_guard lock(mutex_);
  HF_ASSIGN(Node* const at, node(inode));
  HF_CHECK(!at->orphan, "inode {} is an orphan twice", raw(inode));
  at->orphan = true;
  return {};
}

Status MemoryFormat::remove_orphan(Handle&, InodeNumber inode) {
  const std::lock_guard lock(mutex_);
  HF_ASSIGN(Node* const at, node(inode));
  HF_CHECK(at->orphan, "inode {} is no orphan", raw(inode));
  at->orphan = false;
  return {};
}

Result<std::vector<InodeNumber>> MemoryFormat::orphans() {
  const std::lock_guard lock(mutex_);
  std::vector<InodeNumber> found;
  for (const auto& [number, each] : nodes_) {
    if (each.orphan) found.push_back(InodeNumber(number));
  }
  return found;
}

void MemoryFormat::list(const Node& at, PageRange range, std::vector<Extent>& found) const {
  constexpr std::uint64_t kExtentMax = 32768;
  const std::size_t begin = found.size();
  for (auto block = at.blocks.lower_bound(range.first.raw());
       block != at.blocks.end() && block->first < range.end.raw(); ++block) {
    if (found.size() > begin) {
      Extent& last = found.back();
      if ((last.index + last.count).raw() == block->first && (last.pfn + last.count).raw() == block->second.pfn &&
          last.unwritten == block->second.unwritten && last.count.raw() < kExtentMax) {
        last.count += PageCount(1);
        continue;
      }
    }
    found.push_back({PageIndex(block->first), Pfn(block->second.pfn), PageCount(1), block->second.unwritten});
  }
}

Status MemoryFormat::extents(InodeNumber inode, PageRange range, std::vector<Extent>& found) {
  const std::lock_guard lock(mutex_);
  HF_ASSIGN(Node* const at, node(inode));
  list(*at, range, found);
  return {};
}

// A free cluster: next to the page before if that is free, else congruent modulo 2 MiB, else any. 0: none.
std::uint64_t MemoryFormat::find_free(std::uint64_t index, const Node& at) {
  const std::uint64_t cluster = options_.cluster.raw();
  const auto fits = [&](std::uint64_t pfn) { return pfn < used_.size() && used_[pfn] == 0; };
  if (!options_.scattered) {
    const auto before = at.blocks.find(index - 1);
    if (before != at.blocks.end() && fits(before->second.pfn + 1)) return before->second.pfn + 1;
    for (std::uint64_t pfn = round_down(cursor_, 512) + index % 512; pfn < used_.size(); pfn += 512) {
      if (fits(pfn)) return pfn;
    }
  }
  const std::uint64_t step = options_.scattered ? 2 * cluster : cluster;
  for (std::uint64_t pfn = round_up(kOwnBlocks, cluster) + index % cluster; pfn < used_.size(); pfn += step) {
    if (fits(pfn)) return pfn;
  }
  for (std::uint64_t pfn = round_up(kOwnBlocks, cluster) + index % cluster; pfn < used_.size(); pfn += cluster) {
    if (fits(pfn)) return pfn;
  }
  return 0;
}

Result<PageIndex> MemoryFormat::allocate(Handle& handle, InodeNumber inode, PageRange range, Initial initial,
                                         std::vector<Extent>& added) {
  const std::lock_guard lock(mutex_);
  HF_ASSIGN(Node* const at, node(inode));
  MemoryHandle::of(handle).touch(inode);
  if (HF_FAULT_POINT("format.allocate")) return Error(ENOSPC, "memory format", "made to fail");
  const std::uint64_t cluster = options_.cluster.raw();
  std::vector<std::uint64_t> fresh;  // clusters, by first page index
  const auto give_up = [&] {
    for (const std::uint64_t index : fresh) {
      for (std::uint64_t i = 0; i < cluster; ++i) {
        used_[at->blocks.at(index + i).pfn] = 0;
        at->blocks.erase(index + i);
      }
    }
    return Error(ENOSPC, "memory format", "the pool is full");
  };
  for (std::uint64_t index = round_down(range.first.raw(), cluster); index < range.end.raw(); index += cluster) {
    if (at->blocks.count(index) != 0) continue;
    const std::uint64_t pfn = find_free(index, *at);
    if (pfn == 0) return give_up();
    for (std::uint64_t i = 0; i < cluster; ++i) {
      HF_CHECK(used_[pfn + i] == 0, "page {} is given out twice", pfn + i);
      used_[pfn + i] = 1;
      at->blocks[index + i] = {pfn + i, initial == Initial::unwritten};
    }
    fresh.push_back(index);
    cursor_ = pfn;
  }
  free_ -= fresh.size() * cluster;
  Node only;
  for (const std::uint64_t index : fresh) {
    for (std::uint64_t i = 0; i < cluster; ++i) only.blocks[index + i] = at->blocks[index + i];
  }
  const std::size_t had = added.size();
  list(only, {PageIndex(0), kEndOfFile}, added);
  MemoryHandle::of(handle).count_extents(added.size() - had);
  return range.end;
}

Status MemoryFormat::mark_written(Handle& handle, InodeNumber inode, PageRange range) {
  const std::lock_guard lock(mutex_);
  HF_ASSIGN(Node* const at, node(inode));
  MemoryHandle::of(handle).touch(inode);
  MemoryHandle::of(handle).count_extents(2);
  for (std::uint64_t index = range.first.raw(); index < range.end.raw(); ++index) {
    const auto block = at->blocks.find(index);
    HF_CHECK(block != at->blocks.end(), "page {} of inode {} is a hole and becomes written", index, raw(inode));
    block->second.unwritten = false;
  }
  return {};
}

Status MemoryFormat::mark_unwritten(Handle& handle, InodeNumber inode, PageRange range) {
  const std::lock_guard lock(mutex_);
  HF_ASSIGN(Node* const at, node(inode));
  MemoryHandle::of(handle).touch(inode);
  MemoryHandle::of(handle).count_extents(2);
  for (std::uint64_t index = range.first.raw(); index < range.end.raw(); ++index) {
    const auto block = at->blocks.find(index);
    if (block != at->blocks.end()) block->second.unwritten = true;
  }
  return {};
}

Result<PageIndex> MemoryFormat::remove(Handle& handle, InodeNumber inode, PageRange range, std::uint32_t extents_max) {
  const std::lock_guard lock(mutex_);
  HF_ASSIGN(Node* const at, node(inode));
  MemoryHandle::of(handle).touch(inode);
  const std::uint64_t cluster = options_.cluster.raw();
  const std::uint64_t first = round_up(range.first.raw(), cluster);
  const std::uint64_t end = range.end == kEndOfFile ? range.end.raw() : round_down(range.end.raw(), cluster);
  if (first >= end) return range.first;
  std::vector<Extent> found;
  list(*at, {PageIndex(first), PageIndex(end)}, found);
  std::uint32_t done = 0;
  while (!found.empty() && done < extents_max) {
    const Extent& last = found.back();
    for (PageCount i; i < last.count; i += PageCount(1)) {
      used_[(last.pfn + i).raw()] = 2;
      at->blocks.erase((last.index + i).raw());
      ++free_;
    }
    found.pop_back();
    ++done;
  }
  MemoryHandle::of(handle).count_extents(done);
  if (found.empty()) return range.first;
  return found.back().index + found.back().count;
}

Status MemoryFormat::move(Handle& handle, InodeNumber from, PageRange range, InodeNumber to, PageIndex to_index) {
  const std::lock_guard lock(mutex_);
  if (HF_FAULT_POINT("format.move")) return Error(ENOSPC, "memory format", "made to fail");
  HF_ASSIGN(Node* const source, node(from));
  HF_ASSIGN(Node* const target, node(to));
  MemoryHandle::of(handle).touch(from);
  MemoryHandle::of(handle).touch(to);
  const std::uint64_t cluster = options_.cluster.raw();
  HF_CHECK(range.first.raw() % cluster == 0 && to_index.raw() % cluster == 0, "part of a cluster is moved");
  std::vector<Extent> found;
  list(*source, range, found);
  MemoryHandle::of(handle).count_extents(2 * found.size());
  for (const Extent& extent : found) {
    for (PageCount i; i < extent.count; i += PageCount(1)) {
      const std::uint64_t index = (extent.index + i).raw();
      const std::uint64_t there = (to_index + ((extent.index + i) - range.first)).raw();
      HF_CHECK(target->blocks.count(there) == 0, "page {} of inode {} has a block", there, raw(to));
      target->blocks[there] = source->blocks.at(index);
      source->blocks.erase(index);
    }
  }
  return {};
}

Result<std::optional<Name>> MemoryFormat::lookup(InodeNumber directory, std::string_view name) {
  const std::lock_guard lock(mutex_);
  HF_ASSIGN(Node* const at, node(directory));
  const auto found = at->names.find(name);
  if (found == at->names.end()) return std::optional<Name>();
  return std::optional(found->second);
}

Status MemoryFormat::add_name(Handle& handle, InodeNumber directory, const Name& name) {
  const std::lock_guard lock(mutex_);
  HF_ASSIGN(Node* const at, node(directory));
  MemoryHandle::of(handle).count_name();
  if (!at->names.emplace(name.name, name).second) return Error(EEXIST, name.name, "");
  return {};
}

Status MemoryFormat::remove_name(Handle& handle, InodeNumber directory, std::string_view name) {
  const std::lock_guard lock(mutex_);
  HF_ASSIGN(Node* const at, node(directory));
  MemoryHandle::of(handle).count_name();
  const auto found = at->names.find(name);
  if (found == at->names.end()) return Error(ENOENT, std::string(name), "");
  at->names.erase(found);
  return {};
}

Status MemoryFormat::replace_name(Handle& handle, InodeNumber directory, const Name& name) {
  const std::lock_guard lock(mutex_);
  HF_ASSIGN(Node* const at, node(directory));
  MemoryHandle::of(handle).count_name();
  at->names[name.name] = name;
  return {};
}

Status MemoryFormat::make_directory(Handle&, InodeNumber directory, InodeNumber parent) {
  const std::lock_guard lock(mutex_);
  HF_ASSIGN(Node* const at, node(directory));
  at->names["."] = {".", directory, FileType::directory};
  at->names[".."] = {"..", parent, FileType::directory};
  return {};
}

Status MemoryFormat::set_parent(Handle&, InodeNumber directory, InodeNumber parent) {
  const std::lock_guard lock(mutex_);
  HF_ASSIGN(Node* const at, node(directory));
  at->names[".."] = {"..", parent, FileType::directory};
  return {};
}

Result<bool> MemoryFormat::directory_empty(InodeNumber directory) {
  const std::lock_guard lock(mutex_);
  HF_ASSIGN(Node* const at, node(directory));
  return at->names.size() <= 2;
}

Result<std::uint64_t> MemoryFormat::read_directory(InodeNumber directory, std::uint64_t cursor,
                                                   const NameVisitor& visit) {
  std::vector<Name> names;
  {
    const std::lock_guard lock(mutex_);
    HF_ASSIGN(Node* const at, node(directory));
    for (const auto& [key, name] : at->names) names.push_back(name);
  }
  for (std::uint64_t i = cursor; i < names.size(); ++i) {
    if (!visit(names[i], i + 1)) return i + 1;
  }
  return filesystem::kDirectoryEnd;
}

Result<std::string> MemoryFormat::read_symlink(InodeNumber inode) {
  const std::lock_guard lock(mutex_);
  HF_ASSIGN(Node* const at, node(inode));
  return at->target;
}

Status MemoryFormat::write_symlink(Handle&, InodeNumber inode, std::string_view target) {
  const std::lock_guard lock(mutex_);
  HF_ASSIGN(Node* const at, node(inode));
  at->target = target;
  at->attributes.size = target.size();
  return {};
}

Result<std::vector<std::string>> MemoryFormat::list_attributes(InodeNumber inode) {
  const std::lock_guard lock(mutex_);
  HF_ASSIGN(Node* const at, node(inode));
  std::vector<std::string> names;
  for (const auto& [name, value] : at->extended) names.push_back(name);
  return names;
}

Result<std::string> MemoryFormat::get_attribute(InodeNumber inode, std::string_view name) {
  const std::lock_guard lock(mutex_);
  HF_ASSIGN(Node* const at, node(inode));
  const auto found = at->extended.find(name);
  if (found == at->extended.end()) return Error(ENODATA, std::string(name), "");
  return found->second;
}

Status MemoryFormat::set_attribute(Handle&, InodeNumber inode, std::string_view name, std::string_view value,
                                   AttributeMode mode) {
  const std::lock_guard lock(mutex_);
  HF_ASSIGN(Node* const at, node(inode));
  const bool there = at->extended.find(name) != at->extended.end();
  if (there && mode == AttributeMode::create) return Error(EEXIST, std::string(name), "");
  if (!there && mode == AttributeMode::replace) return Error(ENODATA, std::string(name), "");
  at->extended[std::string(name)] = value;
  return {};
}

Status MemoryFormat::remove_attribute(Handle&, InodeNumber inode, std::string_view name) {
  const std::lock_guard lock(mutex_);
  HF_ASSIGN(Node* const at, node(inode));
  const auto found = at->extended.find(name);
  if (found == at->extended.end()) return Error(ENODATA, std::string(name), "");
  at->extended.erase(found);
  return {};
}

Status MemoryFormat::remove_all_attributes(Handle&, InodeNumber inode) {
  const std::lock_guard lock(mutex_);
  HF_ASSIGN(Node* const at, node(inode));
  at->extended.clear();
  return {};
}

filesystem::Space MemoryFormat::space() {
  const std::lock_guard lock(mutex_);
  filesystem::Space space;
  space.cluster_bytes = options_.cluster.bytes();
  space.total = used_.size() * kPageBytes;
  space.free = space.available = free_ * kPageBytes;
  space.inodes = options_.inodes;
  space.free_inodes = options_.inodes - nodes_.size();
  return space;
}

Result<bool> MemoryFormat::block_free(Pfn pfn) {
  const std::lock_guard lock(mutex_);
  return used_.at(pfn.raw()) != 1;
}

}  // namespace holdfast::test
