// Regular files of the host: one that is read, and one that is written and gets its name when whole.
#pragma once

#include <sys/types.h>
#include <time.h>

#include <memory>
#include <string>

#include "cli/tree.h"

namespace holdfast::cli {

inline constexpr const char* kAclAccess = "system.posix_acl_access";
inline constexpr const char* kAclDefault = "system.posix_acl_default";

timespec timespec_of(TimeStamp time);

// Closes what it holds.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

class HostSourceFile final : public SourceFile {
 public:
  // EINVAL when the name leads to no regular file (any more). Never waits for the other end of a fifo.
  static Result<std::unique_ptr<SourceFile>> open(const std::string& path);

  Result<Node> look() const override;
  Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) const override;
  Result<std::uint64_t> next_data(std::uint64_t offset) const override;
  Result<std::uint64_t> next_hole(std::uint64_t offset) const override;

  HostSourceFile(Descriptor descriptor, std::string path) : fd_(std::move(descriptor)), path_(std::move(path)) {}

 private:
  Result<std::uint64_t> seek(std::uint64_t offset, int whence) const;

  Descriptor fd_;
  std::string path_;
};

class HostNewFile final : public NewFile {
 public:
  static Result<std::unique_ptr<NewFile>> create(const std::string& directory);
  ~HostNewFile() override;  // removes the temporary name, if there is one still

  Status write(std::uint64_t offset, std::span<const std::byte> bytes) override;
  Status set_size(std::uint64_t size) override;
  Status set_owner(std::uint32_t uid, std::uint32_t gid) override;
  Status set_permissions(std::uint32_t permissions) override;
  Status set_times(TimeStamp accessed, TimeStamp modified) override;
  Status set_attribute(const std::string& name, const std::string& value) override;

  // Gives the file its name. EEXIST.
  Status publish(const std::string& path);
  Status sync();

  HostNewFile(Descriptor descriptor, std::string directory, std::string temporary)
      : fd_(std::move(descriptor)), directory_(std::move(directory)), temporary_(std::move(temporary)) {}

 private:
  Status done(int result) const;

  Descriptor fd_;
  std::string directory_;
  std::string temporary_;  // empty: it has no name
};

}  // namespace holdfast::cli
