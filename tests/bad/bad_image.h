// The image that bad_image_test damages, and what the program may do with a damaged one.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bad/ext4_image.h"
#include "bad/judge.h"
#include "support/scratch.h"

namespace holdfast::test {

struct Damage {
  std::string name;
  std::function<void(Ext4Image&)> apply;
};

enum class BadFlavour { checksums, plain };

// A sound image with one of everything.
class BadImage : public ::testing::TestWithParam<BadFlavour> {
 protected:
  BadImage();
  void SetUp() override;

  const std::string& sound() const { return sound_; }
  // The bytes of another one, made in the same way.
  std::string make_again() const;
  std::uint32_t inode(const char* name) const { return inodes_.at(name); }
  // Each damage to a copy of its own; complains about all that the program may not do, and where check and e2fsck
  // differ.
  void survive_all(const std::vector<Damage>& damages);

 private:
  void make(const std::string& tree, const std::string& pool) const;
  void survive(const Damage& damage);
  Said run(const std::string& damage, const std::vector<std::string>& words);

  ScratchDirectory scratch_;
  std::string sound_;
  std::map<std::string, std::uint32_t> inodes_;
  std::unique_ptr<Judge> judge_;  // null: there is no e2fsck
};

}  // namespace holdfast::test
