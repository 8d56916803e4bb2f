// Copies trees: contents, kinds, holes, hard links, metadata.
//
// A regular file gets its name when it is whole, with all its metadata; a directory gets its metadata when all that is
// in it is there. What has the name already is replaced by a rename, unless it is a directory.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "cli/metadata.h"
#include "cli/progress.h"
#include "cli/tree.h"

namespace holdfast::cli {

struct CopyCounts {
  std::uint64_t files = 0;  // regular files, each once however many names it has
  std::uint64_t directories = 0;
  std::uint64_t symlinks = 0;
  std::uint64_t nodes = 0;       // fifos, sockets, devices
  std::uint64_t hard_links = 0;  // further names
  std::uint64_t bytes = 0;       // of contents that were written; holes are not
  std::uint64_t failures = 0;
  std::uint64_t skipped = 0;
};

class Copier {
 public:
  // `pool_file`: the host's file that is the pool. As a source it is passed over with a note; it is never replaced.
  Copier(const Tree& from, Tree& to, Progress& progress, Io& io, std::optional<Identity> pool_file);

  // Copies what `source` names, and all below it, to the name `dest`. Complains about what fails and goes on; a full
  // or read-only destination and a signal end the copying.
  void copy(const std::string& source, const std::string& dest);

  // Whether copying has come to an end before its time.
  bool stopped() const { return stopped_; }
  const CopyCounts& counts() const { return counts_; }
  std::uint64_t attributes_lost() const { return metadata_.attributes_lost(); }

 private:
  struct Step {
    std::string from;
    std::string to;
    std::optional<Node> leave;  // a directory whose content is done
    bool top = false;           // named on the command line
  };
  Status enter(const Step& step, std::vector<Step>& steps);
  Status leave(const Step& step);
  Status copy_directory(const Step& step, const Node& node, std::vector<Step>& steps);
  Status copy_file(const Step& step, const Node& node);
  Status copy_symlink(const Step& step, const Node& node);
  Status copy_node(const Step& step, const Node& node);
  Status link_to_first(const std::string& first, const Step& step);
  template <typename Make>
  Status make_with_metadata(const Step& step, const Node& node, const std::string& path, Make make);
  template <typename Make>
  Status place(const std::string& path, Make make);
  std::string temporary_beside(const std::string& path);
  void fail(const Error& error);

  const Tree& from_;
  Tree& to_;
  Progress& progress_;
  Io& io_;
  std::optional<Identity> pool_file_;
  MetadataCopier metadata_;
  CopyCounts counts_;
  bool stopped_ = false;
  std::uint64_t temporaries_ = 0;
  std::map<Identity, std::string> first_names_;  // of files with several names: where the first went
  std::set<Identity> directories_met_;           // where directories have one name
  std::unordered_set<std::string> made_;         // names made by this run, which it does not overwrite
  std::vector<std::byte> piece_;
};

// What a copy of everything below the paths will have to do. Names that cannot be looked at are passed over.
struct Expected {
  std::uint64_t bytes = 0;
  std::uint64_t files = 0;
};
Expected measure(const Tree& tree, const std::vector<std::string>& paths);

}  // namespace holdfast::cli
