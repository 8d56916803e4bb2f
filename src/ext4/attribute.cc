#include "ext4/attribute.h"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "ext4/attribute_acl.h"
#include "ext4/attribute_store.h"

namespace holdfast::ext4 {

namespace {

constexpr std::size_t kValueBytesMax = 65536;

AttributeList::iterator find_in(AttributeList& list, const AttributeName& name) {
  return std::find_if(list.begin(), list.end(), [&name](const StoredAttribute& a) { return a.named(name); });
}

const StoredAttribute* find(const AttributeStore& store, const AttributeName& name) {
  for (const AttributeList* list : {&store.in_inode, &store.in_block}) {
    for (const StoredAttribute& attribute : *list) {
      if (attribute.named(name)) return &attribute;
    }
  }
  return nullptr;
}

// Takes the attribute out of the list; whether it was there.
bool take_out(AttributeList& list, const AttributeName& name) {
  const auto found = find_in(list, name);
  if (found == list.end()) return false;
  list.erase(found);
  return true;
}

Error no_such(std::string_view name) { return Error(ENODATA, std::string(name), "the inode has no such attribute"); }

Status save(AttributeStore& store, bool inode_changed, bool block_changed) {
  // A block that is written may fail, and then nothing has changed. One that is given up is left already when its
  // freeing fails, so that the attribute it may have held must be in the inode before.
  if (block_changed && !store.in_block.empty()) HF_TRY(store.save_block());
  if (inode_changed) store.save_inode();
  if (block_changed && store.in_block.empty()) HF_TRY(store.save_block());
  return {};
}

Status remove_named(AttributeStore& store, const AttributeName& name) {
  const bool inode_changed = take_out(store.in_inode, name);
  const bool block_changed = take_out(store.in_block, name);
  return save(store, inode_changed, block_changed);
}

// Beside the inode's other attributes when they leave room, else in the block.
Status put(AttributeStore& store, const AttributeName& name, std::string value, std::string_view full_name) {
  const bool was_in_inode = take_out(store.in_inode, name);
  const bool was_in_block = take_out(store.in_block, name);
  const StoredAttribute attribute{static_cast<std::uint8_t>(name.prefix), name.rest, std::move(value)};
  store.in_inode.push_back(attribute);
  if (bytes_needed(store.in_inode) <= store.inode_room()) return save(store, true, was_in_block);
  store.in_inode.pop_back();
  store.in_block.push_back(attribute);
  if (bytes_needed(store.in_block) <= AttributeStore::block_room()) return save(store, was_in_inode, true);
  return Error(ENOSPC, std::string(full_name),
               fmt::format("its {} bytes do not fit beside the inode's other attributes, which share {} bytes",
                           attribute.value.size(), AttributeStore::block_room()));
}

}  // namespace

Result<std::vector<std::string>> list_attributes(Volume& volume, InodeNumber inode) {
  HF_ASSIGN(const AttributeStore store, AttributeStore::load(volume, inode));
  std::vector<std::string> names;
  for (const AttributeList* list : {&store.in_inode, &store.in_block}) {
    for (const StoredAttribute& attribute : *list) {
      if (auto name = attribute_full_name(attribute.prefix, attribute.rest)) names.push_back(std::move(*name));
    }
  }
  return names;
}

Result<std::string> get_attribute(Volume& volume, InodeNumber inode, std::string_view full_name) {
  HF_ASSIGN(const AttributeName name, parse_attribute_name(full_name));
  HF_ASSIGN(const AttributeStore store, AttributeStore::load(volume, inode));
  const StoredAttribute* attribute = find(store, name);
  if (attribute == nullptr) return no_such(full_name);
  if (!name.is_acl()) return attribute->value;
  Result<std::string> value = acl_from_medium(attribute->value);
  if (value) return value;
  return damaged(volume, fmt::format("inode {}: {}: {}", filesystem::raw(inode), full_name, value.error().reason()));
}

Status set_attribute(Volume& volume, InodeNumber inode, std::string_view full_name, std::string_view value,
                     AttributeMode mode) {
  HF_ASSIGN(const AttributeName name, parse_attribute_name(full_name));
  if (value.size() > kValueBytesMax) return Error(E2BIG, std::string(full_name), "a value has at most 64 KiB");
  if (name.prefix == AttributePrefix::system) {
    return Error(EOPNOTSUPP, std::string(full_name), "of system., only access control lists can be set");
  }
  if ((volume.superblock().s_feature_compat & EXT2_FEATURE_COMPAT_EXT_ATTR) == 0) {
    return Error(EOPNOTSUPP, std::string(full_name), "the volume is without extended attributes",
                 "tune2fs -O ext_attr");
  }
  std::string stored(value);
  if (name.is_acl()) {
    HF_ASSIGN(stored, acl_to_medium(value));
  }
  HF_ASSIGN(AttributeStore store, AttributeStore::load(volume, inode));
  const StoredAttribute* existing = find(store, name);
  if (existing != nullptr && mode == AttributeMode::create) {
    return Error(EEXIST, std::string(full_name), "the inode has this attribute already");
  }
  if (existing == nullptr && mode == AttributeMode::replace) return no_such(full_name);
  if (name.is_acl() && stored.empty()) return existing == nullptr ? Status() : remove_named(store, name);
  if (existing != nullptr && existing->value == stored) return {};
  return put(store, name, std::move(stored), full_name);
}

Status remove_attribute(Volume& volume, InodeNumber inode, std::string_view full_name) {
  HF_ASSIGN(const AttributeName name, parse_attribute_name(full_name));
  HF_ASSIGN(AttributeStore store, AttributeStore::load(volume, inode));
  if (find(store, name) == nullptr) return no_such(full_name);
  return remove_named(store, name);
}

Status remove_all_attributes(Volume& volume, InodeNumber inode) {
  HF_ASSIGN(AttributeStore store, AttributeStore::load(volume, inode));
  const bool inode_changed = !store.in_inode.empty();
  store.in_inode.clear();
  store.in_block.clear();
  return save(store, inode_changed, true);
}

}  // namespace holdfast::ext4
