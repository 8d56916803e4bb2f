#include "ext4/attribute_acl.h"

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

namespace holdfast::ext4 {

namespace {

constexpr std::uint32_t kCallVersion = 2;
constexpr std::uint32_t kMediumVersion = 1;
constexpr std::uint32_t kNoId = 0xffffffff;

enum Tag : std::uint16_t {
  kOwner = 0x01,
  kUser = 0x02,
  kOwningGroup = 0x04,
  kGroup = 0x08,
  kMask = 0x10,
  kOther = 0x20,
};

struct AclEntry {
  std::uint16_t tag = 0;
  std::uint16_t permissions = 0;
  std::uint32_t id = kNoId;

  bool has_id() const { return tag == kUser || tag == kGroup; }
};

template <typename T>
bool take(std::string_view& bytes, T& value) {
  if (bytes.size() < sizeof value) return false;
  std::memcpy(&value, bytes.data(), sizeof value);
  bytes.remove_prefix(sizeof value);
  return true;
}

template <typename T>
void put(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// The entries after the version; nothing when they are cut short.
std::optional<std::vector<AclEntry>> take_entries(std::string_view bytes, bool ids_everywhere) {
  std::vector<AclEntry> entries;
  while (!bytes.empty()) {
    AclEntry entry;
    if (!take(bytes, entry.tag) || !take(bytes, entry.permissions)) return std::nullopt;
    if ((ids_everywhere || entry.has_id()) && !take(bytes, entry.id)) return std::nullopt;
    entries.push_back(entry);
  }
  return entries;
}

// Owner, users, owning group, groups, mask, others: in this order, the three classes once each, users and groups any
// number of times, and the mask once when there are any.
bool well_formed(const std::vector<AclEntry>& entries) {
  std::uint16_t last = 0;
  bool named = false;
  std::uint16_t seen = 0;
  for (const AclEntry& entry : entries) {
    switch (entry.tag) {
      case kUser:
      case kGroup:
        if (entry.tag < last || entry.id == kNoId) return false;
        named = true;
        break;
      case kOwner:
      case kOwningGroup:
      case kMask:
      case kOther:
        if (entry.tag <= last) return false;
        break;
      default:
        return false;
    }
    if (entry.permissions > 7) return false;
    last = entry.tag;
    seen = static_cast<std::uint16_t>(seen | entry.tag);
  }
  const bool classes = (seen & kOwner) != 0 && (seen & kOwningGroup) != 0 && (seen & kOther) != 0;
  return classes && (!named || (seen & kMask) != 0);
}

Error malformed(const char* reason) { return Error(EINVAL, "access control list", reason); }

}  // namespace

Result<std::string> acl_to_medium(std::string_view value) {
  std::uint32_t version = 0;
  if (!take(value, version)) return malformed("shorter than its version number");
  if (version != kCallVersion) return Error(EOPNOTSUPP, "access control list", "only version 2 is known");
  const std::optional<std::vector<AclEntry>> entries = take_entries(value, true);
  if (!entries) return malformed("ends in the middle of an entry");
  std::string stored;
  if (entries->empty()) return stored;
  if (!well_formed(*entries)) return malformed("entries are missing, out of order or with unknown rights");
  put(stored, kMediumVersion);
  for (const AclEntry& entry : *entries) {
    put(stored, entry.tag);
    put(stored, entry.permissions);
    if (entry.has_id()) put(stored, entry.id);
  }
  return stored;
}

Result<std::string> acl_from_medium(std::string_view stored) {
  std::uint32_t version = 0;
  if (!take(stored, version) || version != kMediumVersion) return malformed("unknown version on the medium");
  const std::optional<std::vector<AclEntry>> entries = take_entries(stored, false);
  if (!entries) return malformed("ends in the middle of an entry");
  if (!entries->empty() && !well_formed(*entries)) return malformed("damaged on the medium");
  std::string value;
  put(value, kCallVersion);
  for (const AclEntry& entry : *entries) {
    put(value, entry.tag);
    put(value, entry.permissions);
    put(value, entry.has_id() ? entry.id : kNoId);
  }
  return value;
}

}  // namespace holdfast::ext4
