// The files of a mounted pool as a Tree.
#pragma once

#include <holdfast/filesystem.h>

#include "cli/tree.h"

namespace holdfast::cli {

class PoolTree final : public Tree {
 public:
  // `fs` must outlive the tree; `name` is what messages call the pool.
  PoolTree(Filesystem& fs, std::string name) : fs_(fs), name_(std::move(name)) {}

  bool directories_may_repeat() const override { return false; }
  std::string describe(const std::string& path) const override { return name_ + ":" + path; }

  Result<Node> look(const std::string& path) const override;
  Result<Node> look_following(const std::string& path) const override;
  Result<std::vector<std::string>> names(const std::string& directory) const override;
  Result<std::string> read_symlink(const std::string& path) const override;
  Result<std::unique_ptr<SourceFile>> open(const std::string& path) const override;
  Result<std::vector<std::string>> attributes(const std::string& path) const override;
  Result<std::string> attribute(const std::string& path, const std::string& name) const override;

  Status make_directory(const std::string& path) override;
  Status make_node(const std::string& path, const Node& like) override;
  Status symlink(const std::string& target, const std::string& path) override;
  Status link(const std::string& existing, const std::string& path) override;
  Result<std::unique_ptr<NewFile>> new_file(const std::string& directory) override;
  Status publish(NewFile& file, const std::string& path) override;

  Status rename(const std::string& from, const std::string& to) override;
  Status remove(const std::string& path) override;
  std::unique_ptr<Attributed> at(const std::string& path) override;

 private:
  Status named(Status status, const std::string& path) const;

  Filesystem& fs_;
  std::string name_;
};

}  // namespace holdfast::cli
