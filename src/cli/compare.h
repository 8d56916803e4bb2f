// Whether a tree is what another is: kinds, contents, permissions, owners, times, links, extended attributes.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/io.h"
#include "cli/progress.h"
#include "cli/tree.h"

namespace holdfast::cli {

struct CompareOptions {
  bool owners = true;            // not for a copy made by someone who may not give files away
  std::optional<Identity> skip;  // of the original: what the copy left out
};

class Comparer {
 public:
  Comparer(const Tree& original, const Tree& copy, const CompareOptions& options, Progress& progress, Io& io);

  // Compares all that `original` has with what `copy` has; names that only the copy has are its own business. Tells
  // each difference in a line.
  void compare(const std::string& original, const std::string& copy);

  std::uint64_t files() const { return files_; }
  std::uint64_t bytes() const { return bytes_; }
  std::uint64_t differences() const { return differences_; }

 private:
  struct Pair {
    std::string original;
    std::string copy;
  };
  Status compare_pair(const Pair& pair, std::vector<Pair>& pending);
  void compare_metadata(const Node& a, const Node& b, const std::string& copy);
  Status compare_attributes(const std::string& original, const std::string& copy);
  Status compare_content(const Pair& pair, std::uint64_t size_a, std::uint64_t size_b);
  void compare_links(const Node& a, const Node& b, const std::string& copy);
  void differ(const std::string& copy, const std::string& how);

  const Tree& original_;
  const Tree& copy_;
  CompareOptions options_;
  Progress& progress_;
  Io& io_;
  std::uint64_t files_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t differences_ = 0;
  std::map<Identity, Identity> twins_;  // of files with several names
  std::vector<std::byte> piece_a_;
  std::vector<std::byte> piece_b_;
};

}  // namespace holdfast::cli
