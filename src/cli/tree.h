// A tree of files, on the host or in a pool. Copying and comparing know only this.
//
// No function follows a symbolic link as the last component unless its name says so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <holdfast/file.h>

namespace holdfast::cli {

// Which file a name leads to, among all of its tree.
struct Identity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  auto operator<=>(const Identity&) const = default;
};

struct Node {
  Identity identity;
  FileKind kind = FileKind::regular;
  std::uint32_t permissions = 0;
  std::uint64_t links = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t size = 0;
  std::uint64_t allocated = 0;
  TimeStamp accessed;
  TimeStamp modified;
  TimeStamp changed;
  std::uint32_t device_major = 0;
  std::uint32_t device_minor = 0;
};

bool same_time(TimeStamp a, TimeStamp b);

// A regular file, open for reading.
class SourceFile {
 public:
  virtual ~SourceFile() = default;
  virtual Result<Node> look() const = 0;
  // Bytes read; 0 at the end.
  virtual Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) const = 0;
  // The same bytes where they are, for the kernel to copy from: memory that cannot be read is EFAULT to it, and SIGBUS
  // to who loads. Until the file ends. Empty: there is no such place, or not for these; read() them.
  virtual std::span<const std::byte> in_place(std::uint64_t /*offset*/, std::size_t /*length*/) const { return {}; }
  // As lseek(2): ENXIO when there is no data after `offset`; next_hole gives the end of the file at the latest.
  virtual Result<std::uint64_t> next_data(std::uint64_t offset) const = 0;
  virtual Result<std::uint64_t> next_hole(std::uint64_t offset) const = 0;
};

// What can be given owner, permissions, times and extended attributes.
class Attributed {
 public:
  virtual ~Attributed() = default;
  virtual Status set_owner(std::uint32_t uid, std::uint32_t gid) = 0;  // may clear set-id bits
  virtual Status set_permissions(std::uint32_t permissions) = 0;
  virtual Status set_times(TimeStamp accessed, TimeStamp modified) = 0;
  virtual Status set_attribute(const std::string& name, const std::string& value) = 0;
};

// A regular file that is being written and has no name until Tree::publish. Without it, nothing is left of the file.
class NewFile : public Attributed {
 public:
  // Writes all of it.
  virtual Status write(std::uint64_t offset, std::span<const std::byte> bytes) = 0;
  virtual Status set_size(std::uint64_t size) = 0;
};

class Tree {
 public:
  virtual ~Tree() = default;

  // Whether a directory may rightly be met under several names, as bind mounts are.
  virtual bool directories_may_repeat() const = 0;

  // What messages call a path.
  virtual std::string describe(const std::string& path) const = 0;

  virtual Result<Node> look(const std::string& path) const = 0;
  virtual Result<Node> look_following(const std::string& path) const = 0;
  virtual Result<std::vector<std::string>> names(const std::string& directory) const = 0;  // sorted
  virtual Result<std::string> read_symlink(const std::string& path) const = 0;
  virtual Result<std::unique_ptr<SourceFile>> open(const std::string& path) const = 0;
  virtual Result<std::vector<std::string>> attributes(const std::string& path) const = 0;  // names
  virtual Result<std::string> attribute(const std::string& path, const std::string& name) const = 0;

  // New names: EEXIST when the name is taken. Permissions are for the owner alone until they are set.
  virtual Status make_directory(const std::string& path) = 0;
  virtual Status make_node(const std::string& path, const Node& like) = 0;
  virtual Status symlink(const std::string& target, const std::string& path) = 0;
  virtual Status link(const std::string& existing, const std::string& path) = 0;
  virtual Result<std::unique_ptr<NewFile>> new_file(const std::string& directory) = 0;
  virtual Status publish(NewFile& file, const std::string& path) = 0;

  virtual Status rename(const std::string& from, const std::string& to) = 0;
  virtual Status remove(const std::string& path) = 0;  // not a directory
  virtual std::unique_ptr<Attributed> at(const std::string& path) = 0;
};

}  // namespace holdfast::cli
