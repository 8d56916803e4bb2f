#include "support/ext4_bed.h"

#include <cstdlib>
#include <fstream>

#include <fmt/format.h>

#include "base/check.h"

namespace holdfast::test {

Ext4Bed::Ext4Bed(std::uint64_t bytes, const std::string& options, unsigned files, const std::string& contents) {
  for (unsigned i = 0; i < files; ++i) std::ofstream(tree_.file(fmt::format("f{}", i))).flush();
  if (!contents.empty()) run_program(fmt::format("cp -a '{}/.' '{}'", contents, tree_.path()));
  mounted_.emplace(bytes, fmt::format("-t ext4 -O ^has_journal {} -d '{}'", options, tree_.path()));
  for (unsigned i = 0; i < files; ++i) files_.push_back(inode_of(fmt::format("/f{}", i)));
}

ext4::InodeNumber Ext4Bed::inode_of(const std::string& path) const {
  const std::string text = debugfs("stat " + path);
  const std::size_t at = text.find("Inode: ");
  HF_CHECK(at != std::string::npos, "debugfs: {}", text);
  return ext4::InodeNumber{static_cast<std::uint32_t>(std::atoi(text.c_str() + at + 7))};
}

void Ext4Bed::set_size(ext4::InodeNumber inode, std::uint64_t bytes) {
  ext4::RawInode* const raw = volume().inode(inode).value();
  raw->body.i_size = static_cast<std::uint32_t>(bytes);
  raw->body.i_size_high = static_cast<std::uint32_t>(bytes >> 32);
  volume().inode_changed(inode);
}

bool Ext4Bed::clean() {
  commit();
  return e2fsck_clean(image());
}

std::string Ext4Bed::debugfs(const std::string& request) const {
  return run_program(fmt::format("debugfs -R '{}' '{}'", request, image())).output;
}

}  // namespace holdfast::test
