// A format that keeps everything in maps: no medium, no journal, no crash. The oracle and the fault injector of the
// layers above it.
//
// Blocks are pages of the device; the first ones are the format's own and never given out. Freed blocks are given out
// again only after a commit, as the contract demands. Every handle checks that it changed no more than it reserved.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "device/device.h"
#include "filesystem/format.h"

namespace holdfast::test {

class MemoryFormat final : public filesystem::Format {
 public:
  struct Options {
    PageCount blocks;  // of the device
    PageCount cluster{1};
    bool scattered = false;  // no two neighbouring pages of a file are neighbours on the device
    bool read_only = false;
    std::uint32_t inodes = 1U << 16;
  };
  explicit MemoryFormat(const Options& options);
  ~MemoryFormat() override;

  // --- for tests ---
  // Held by every function of the format: a test that holds it shows who needs the format.
  std::mutex& lock() { return mutex_; }
  // Who may be asked what the format believes, without going through it.
  bool owns(filesystem::InodeNumber inode, Pfn pfn);
  bool is_orphan(filesystem::InodeNumber inode);
  std::uint64_t free_pages();  // uncommitted frees included
  std::uint64_t commits() const { return commits_; }
  bool closed_clean() const { return closed_ && clean_; }
  bool is_closed() const { return closed_; }
  // Told before the format is destroyed; outlives it.
  struct Ending {
    bool closed = false;
    bool clean = false;
    std::uint64_t orphans = 0;
    std::uint64_t free_pages = 0;
    std::uint64_t inodes = 0;
  };
  void report_ending_to(Ending* ending) { ending_ = ending; }

  // --- Format ---
  Result<std::unique_ptr<filesystem::Handle>> begin(const filesystem::Reservation& reservation) override;
  Status commit() override;
  Status close(bool clean) override;
  Result<filesystem::Attributes> read_inode(filesystem::InodeNumber inode) override;
  Status write_inode(filesystem::Handle& handle, filesystem::InodeNumber inode,
                     const filesystem::Attributes& attributes) override;
  Result<filesystem::InodeNumber> create_inode(filesystem::Handle& handle, filesystem::InodeNumber parent,
                                               const filesystem::Attributes& attributes) override;
  Status free_inode(filesystem::Handle& handle, filesystem::InodeNumber inode) override;
  Status add_orphan(filesystem::Handle& handle, filesystem::InodeNumber inode) override;
  Status remove_orphan(filesystem::Handle& handle, filesystem::InodeNumber inode) override;
  Result<std::vector<filesystem::InodeNumber>> orphans() override;
  filesystem::InodeNumber root() const override { return filesystem::InodeNumber(2); }
  bool read_only() const override { return options_.read_only; }
  Status extents(filesystem::InodeNumber inode, PageRange range, std::vector<filesystem::Extent>& found) override;
  Result<PageIndex> allocate(filesystem::Handle& handle, filesystem::InodeNumber inode, PageRange range,
                             filesystem::Initial initial, std::vector<filesystem::Extent>& added) override;
  Status mark_written(filesystem::Handle& handle, filesystem::InodeNumber inode, PageRange range) override;
  Status mark_unwritten(filesystem::Handle& handle, filesystem::InodeNumber inode, PageRange range) override;
  Result<PageIndex> remove(filesystem::Handle& handle, filesystem::InodeNumber inode, PageRange range,
                           std::uint32_t extents_max) override;
  Status move(filesystem::Handle& handle, filesystem::InodeNumber from, PageRange range, filesystem::InodeNumber to,
              PageIndex to_index) override;
  PageCount cluster() const override { return options_.cluster; }
  Result<std::optional<filesystem::Name>> lookup(filesystem::InodeNumber directory, std::string_view name) override;
  Status add_name(filesystem::Handle& handle, filesystem::InodeNumber directory, const filesystem::Name& name) override;
  Status remove_name(filesystem::Handle& handle, filesystem::InodeNumber directory, std::string_view name) override;
  Status replace_name(filesystem::Handle& handle, filesystem::InodeNumber directory,
                      const filesystem::Name& name) override;
  Status make_directory(filesystem::Handle& handle, filesystem::InodeNumber directory,
                        filesystem::InodeNumber parent) override;
  Status set_parent(filesystem::Handle& handle, filesystem::InodeNumber directory,
                    filesystem::InodeNumber parent) override;
  Result<bool> directory_empty(filesystem::InodeNumber directory) override;
  Result<std::uint64_t> read_directory(filesystem::InodeNumber directory, std::uint64_t cursor,
                                       const NameVisitor& visit) override;
  Result<std::string> read_symlink(filesystem::InodeNumber inode) override;
  Status write_symlink(filesystem::Handle& handle, filesystem::InodeNumber inode, std::string_view target) override;
  Result<std::vector<std::string>> list_attributes(filesystem::InodeNumber inode) override;
  Result<std::string> get_attribute(filesystem::InodeNumber inode, std::string_view name) override;
  Status set_attribute(filesystem::Handle& handle, filesystem::InodeNumber inode, std::string_view name,
                       std::string_view value, AttributeMode mode) override;
  Status remove_attribute(filesystem::Handle& handle, filesystem::InodeNumber inode, std::string_view name) override;
  Status remove_all_attributes(filesystem::Handle& handle, filesystem::InodeNumber inode) override;
  filesystem::Space space() override;
  Result<bool> block_free(Pfn pfn) override;

  static constexpr std::uint64_t kOwnBlocks = 16;

 private:
  struct Block {
    std::uint64_t pfn = 0;
    bool unwritten = false;
  };
  struct Node {
    filesystem::Attributes attributes;
    std::map<std::uint64_t, Block> blocks;  // by page index
    std::map<std::string, filesystem::Name, std::less<>> names;
    std::map<std::string, std::string, std::less<>> extended;
    std::string target;
    bool orphan = false;
  };
  class MemoryHandle;

  Result<Node*> node(filesystem::InodeNumber inode);
  std::uint64_t find_free(std::uint64_t index, const Node& node);
  void list(const Node& node, PageRange range, std::vector<filesystem::Extent>& found) const;
  std::uint64_t count_free() const;

  const Options options_;
  std::shared_mutex open_handles_;
  std::mutex mutex_;
  std::map<std::uint32_t, Node> nodes_;
  std::vector<char> used_;  // of each device page: 0 free, 1 used, 2 freed and not committed
  std::uint64_t free_ = 0;
  std::uint64_t cursor_ = 0;
  std::uint32_t next_inode_ = 11;
  std::uint64_t commits_ = 0;
  bool closed_ = false;
  bool clean_ = false;
  Ending* ending_ = nullptr;
};

}  // namespace holdfast::test
