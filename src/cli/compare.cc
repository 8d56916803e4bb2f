#include "cli/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/result.h"
#include "cli/copy_bytes.h"
#include "cli/interrupt.h"
#include "cli/mode.h"
#include "cli/path.h"

namespace holdfast::cli {
namespace {

// Where data begins at or after `offset`; `size` when only a hole is left.
Result<std::uint64_t> data_from(const SourceFile& file, std::uint64_t offset, std::uint64_t size) {
  Result<std::uint64_t> data = file.next_data(offset);
  if (data) return std::min(*data, size);
  if (data.error().code() == ENXIO) return size;
  if (data.error().code() == EINVAL) return offset;
  return data;
}

}  // namespace

Comparer::Comparer(const Tree& original, const Tree& copy, const CompareOptions& options, Progress& progress, Io& io)
    : original_(original),
      copy_(copy),
      options_(options),
      progress_(progress),
      io_(io),
      piece_a_(kPieceBytes),
      piece_b_(kPieceBytes) {}

void Comparer::compare(const std::string& original, const std::string& copy) {
  std::vector<Pair> pending{{original, copy}};  // the next at the end
  while (!pending.empty()) {
    const Pair pair = std::move(pending.back());
    pending.pop_back();
    Status status = check_interrupt();
    if (status) status = compare_pair(pair, pending);
    if (status) continue;
    progress_.clear();
    complain(io_, status.error());
    ++differences_;
    if (interrupted()) return;
  }
}

Status Comparer::compare_pair(const Pair& pair, std::vector<Pair>& pending) {
  // No structured binding: clang 14 cannot capture one.
  const std::string& original = pair.original;
  const std::string& copy = pair.copy;
  HF_ASSIGN(const Node a, original_.look(original));
  if (options_.skip && a.identity == *options_.skip) return {};
  HF_ASSIGN(const Node b, copy_.look(copy));
  if (a.kind != b.kind) {
    differ(copy, fmt::format("is a {}, not a {}", kind_text(b.kind), kind_text(a.kind)));
    return {};
  }
  compare_metadata(a, b, copy);
  HF_TRY(compare_attributes(original, copy));
  if (a.kind == FileKind::directory) {
    HF_ASSIGN(const std::vector<std::string> names, original_.names(original));
    std::for_each(names.rbegin(), names.rend(), [&](const std::string& name) {
      pending.push_back({join(original, name), join(copy, name)});
    });
    return {};
  }
  if (a.links > 1) compare_links(a, b, copy);
  if (a.kind == FileKind::symlink) {
    HF_ASSIGN(const std::string target_a, original_.read_symlink(original));
    HF_ASSIGN(const std::string target_b, copy_.read_symlink(copy));
    if (target_a != target_b) differ(copy, fmt::format("leads to '{}', not to '{}'", target_b, target_a));
  } else if (a.kind == FileKind::regular) {
    return compare_content(pair, a.size, b.size);
  } else if (a.device_major != b.device_major || a.device_minor != b.device_minor) {
    differ(copy, "is another device");
  }
  return {};
}

void Comparer::compare_metadata(const Node& a, const Node& b, const std::string& copy) {
  if (a.kind != FileKind::symlink && a.permissions != b.permissions) {
    differ(copy, fmt::format("has permissions {:04o}, not {:04o}", b.permissions, a.permissions));
  }
  if (options_.owners && (a.uid != b.uid || a.gid != b.gid)) {
    differ(copy, fmt::format("belongs to {}:{}, not {}:{}", b.uid, b.gid, a.uid, a.gid));
  }
  if (!same_time(a.modified, b.modified)) differ(copy, "was modified at another time");
}

Status Comparer::compare_attributes(const std::string& original, const std::string& copy) {
  HF_ASSIGN(const std::vector<std::string> names_a, original_.attributes(original));
  HF_ASSIGN(const std::vector<std::string> names_b, copy_.attributes(copy));
  for (const std::string& name : names_a) {
    if (!std::binary_search(names_b.begin(), names_b.end(), name)) {
      differ(copy, fmt::format("lacks the attribute {}", name));
      continue;
    }
    HF_ASSIGN(const std::string value_a, original_.attribute(original, name));
    HF_ASSIGN(const std::string value_b, copy_.attribute(copy, name));
    if (value_a != value_b) differ(copy, fmt::format("has another value of the attribute {}", name));
  }
  return {};
}

// Names of one file there must be names of one file here, and of no other.
void Comparer::compare_links(const Node& a, const Node& b, const std::string& copy) {
  const auto [twin, first] = twins_.emplace(a.identity, b.identity);
  if (!first && twin->second != b.identity) differ(copy, "is not a name of the same file as before");
}

Status Comparer::compare_content(const Pair& pair, std::uint64_t size_a, std::uint64_t size_b) {
  ++files_;
  progress_.file_done();
  HF_ASSIGN(const std::unique_ptr<SourceFile> a, original_.open(pair.original));
  HF_ASSIGN(const std::unique_ptr<SourceFile> b, copy_.open(pair.copy));
  // What says that it is empty may have bytes to read all the same (procfs): the copy's size counts.
  const std::uint64_t size = size_a == 0 ? size_b : size_a;
  if (size != size_b) {
    differ(pair.copy, fmt::format("has {} bytes, not {}", size_b, size_a));
    return {};
  }
  for (std::uint64_t offset = 0; offset < size;) {
    HF_TRY(check_interrupt());
    if (size_a != 0) {
      HF_ASSIGN(const std::uint64_t data_a, data_from(*a, offset, size));
      HF_ASSIGN(const std::uint64_t data_b, data_from(*b, offset, size));
      offset = std::min(data_a, data_b);
      if (offset >= size) break;
    }
    HF_ASSIGN(const std::size_t got_a, read_whole(*a, offset, piece_a_));
    HF_ASSIGN(const std::size_t got_b, read_whole(*b, offset, piece_b_));
    const std::size_t common = std::min(got_a, got_b);
    if (got_a != got_b || std::memcmp(piece_a_.data(), piece_b_.data(), common) != 0) {
      const auto place =
          std::mismatch(piece_a_.begin(), piece_a_.begin() + static_cast<std::ptrdiff_t>(common), piece_b_.begin());
      const auto same = static_cast<std::uint64_t>(place.first - piece_a_.begin());
      differ(pair.copy, fmt::format("has other contents from byte {} on", offset + same));
      return {};
    }
    offset += got_a;
    bytes_ += got_a;
    progress_.advance(got_a);
    if (got_a < piece_a_.size()) break;
  }
  return {};
}

void Comparer::differ(const std::string& copy, const std::string& how) {
  progress_.clear();
  ++differences_;
  complain(io_, Error(EIO, copy_.describe(copy), "differs: " + how));
}

}  // namespace holdfast::cli
