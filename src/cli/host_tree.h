// The host's files as a Tree: through system calls, relative paths from the current directory.
#pragma once

#include <sys/stat.h>

#include "cli/tree.h"

namespace holdfast::cli {

class HostTree : public Tree {
 public:
  bool directories_may_repeat() const override { return true; }
  std::string describe(const std::string& path) const override { return path; }

  Result<Node> look(const std::string& path) const override;
  Result<Node> look_following(const std::string& path) const override;
  Result<std::vector<std::string>> names(const std::string& directory) const override;
  Result<std::string> read_symlink(const std::string& path) const override;
  Result<std::unique_ptr<SourceFile>> open(const std::string& path) const override;
  Result<std::vector<std::string>> attributes(const std::string& path) const override;
  Result<std::string> attribute(const std::string& path, const std::string& name) const override;

  Status make_directory(const std::string& path) override;
  // Device nodes need CAP_MKNOD: EPERM with the remedy.
  Status make_node(const std::string& path, const Node& like) override;
  Status symlink(const std::string& target, const std::string& path) override;
  Status link(const std::string& existing, const std::string& path) override;
  // O_TMPFILE; where the file system has none, a file with a temporary name that goes with the NewFile.
  Result<std::unique_ptr<NewFile>> new_file(const std::string& directory) override;
  Status publish(NewFile& file, const std::string& path) override;

  Status rename(const std::string& from, const std::string& to) override;
  Status remove(const std::string& path) override;
  std::unique_ptr<Attributed> at(const std::string& path) override;
};

Node node_of(const struct stat& status);

}  // namespace holdfast::cli
