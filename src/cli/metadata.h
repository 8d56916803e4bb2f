// What a name has besides its content, carried from one tree to another.
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "cli/io.h"
#include "cli/tree.h"

namespace holdfast::cli {

class MetadataCopier {
 public:
  MetadataCopier(const Tree& from, Io& io) : from_(from), io_(io) {}

  // Owner, extended attributes (access control lists among them), permissions, times, in the order in which none
  // undoes another. `to_name` is for messages.
  //   - An owner that may not be given away (who is not root) stays one's own; set-id bits are left out then.
  //   - An attribute that the other side cannot keep is counted, and told once for each class ("user.").
  Status copy(const std::string& from_path, const Node& node, Attributed& to, const std::string& to_name);

  std::uint64_t attributes_lost() const { return attributes_lost_; }

 private:
  Status copy_attributes(const std::string& from_path, Attributed& to, const std::string& to_name);
  void lose(const std::string& name, const Error& why, const std::string& to_name);

  const Tree& from_;
  Io& io_;
  std::uint64_t attributes_lost_ = 0;
  std::set<std::string> told_;
};

// Whether an errno value says that the other side cannot keep an extended attribute, whatever its value.
bool cannot_keep(int code);

}  // namespace holdfast::cli
