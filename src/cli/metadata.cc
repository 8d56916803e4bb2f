#include "cli/metadata.h"

#include <fmt/format.h>

#include <cerrno>

#include "base/result.h"

namespace holdfast::cli {
namespace {

constexpr std::uint32_t kSetIds = 06000;

}  // namespace

bool cannot_keep(int code) {
  return code == ENOTSUP || code == EPERM || code == EACCES || code == E2BIG || code == ERANGE || code == EINVAL;
}

Status MetadataCopier::copy(const std::string& from_path, const Node& node, Attributed& to,
                            const std::string& to_name) {
  std::uint32_t permissions = node.permissions;
  if (Status owned = to.set_owner(node.uid, node.gid); !owned) {
    const int code = owned.error().code();
    if (code != EPERM && code != EINVAL) return owned;  // EINVAL: a number that this user namespace does not have
    permissions &= ~kSetIds;
  }
  HF_TRY(copy_attributes(from_path, to, to_name));
  // A symbolic link has no permissions of its own.
  if (node.kind != FileKind::symlink) HF_TRY(to.set_permissions(permissions));
  return to.set_times(node.accessed, node.modified);
}

Status MetadataCopier::copy_attributes(const std::string& from_path, Attributed& to, const std::string& to_name) {
  HF_ASSIGN(const std::vector<std::string> names, from_.attributes(from_path));
  for (const std::string& name : names) {
    const Result<std::string> value = from_.attribute(from_path, name);
    if (!value && value.error().code() == ENODATA) continue;  // gone meanwhile
    if (!value) {
      lose(name, value.error(), to_name);
      continue;
    }
    Status set = to.set_attribute(name, *value);
    if (set) continue;
    if (!cannot_keep(set.error().code()) && set.error().code() != ENOSPC) return set;
    lose(name, set.error(), to_name);
  }
  return {};
}

void MetadataCopier::lose(const std::string& name, const Error& why, const std::string& to_name) {
  ++attributes_lost_;
  const std::string kind = name.substr(0, name.find('.') + 1);
  if (!told_.insert(kind).second) return;
  const std::string reason = Error(why.code(), "", why.reason()).message();
  note(io_, to_name,
       fmt::format("the attribute {} cannot be kept ({}); others of {}* are counted only", name, reason, kind));
}

}  // namespace holdfast::cli
