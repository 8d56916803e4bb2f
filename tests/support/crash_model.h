// What a pool may hold after a power failure: told by whoever works on it, asked by who recovers an image.
//
// Bytes. Every word of a file says whose it is (Stamp, file_life.h). After a crash a word of a page is what it was when
// the file was last synced, or what any change since has made of it; nothing else, and never another file's word. The
// size is the one of the last sync, or one that an operation since has given.
//
// Names. Each operation on names is one transaction, and transactions are committed in order: after a crash the names
// are those of one moment since the last sync, all of them of the same one. A file is recognised by its permissions,
// which are given with its name in one step: they are its number; a symbolic link by what it points to.
//
// An attribute of a file is what it was at the last sync, or what an operation since has made of it.
//
// Order of use: what an operation may leave is told before it begins; what a sync has made sure, after it has ended. So
// a copy of the model, taken after a copy of the memory, allows all that the memory can hold.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/file_life.h"

namespace holdfast::test {

inline constexpr std::uint64_t kModelPage = 4096;
inline constexpr std::uint32_t kFileNumbers = 07777;  // permissions
inline constexpr const char* kCrashAttribute = "user.crash";

// The generations of a page's words; 0: zeros.
using PageWords = std::array<std::uint32_t, kPageWords>;

class CrashFile {
 public:
  // --- before an operation: what words [from, to) of the file may become; generation 0: zeros ---
  void may_become(std::uint64_t from, std::uint64_t to, std::uint32_t generation);
  void may_have_size(std::uint64_t least, std::uint64_t most);
  void may_have_attribute(std::string value) { attributes_.push_back(std::move(value)); }  // empty: none
  // --- after it ---
  void became(std::uint64_t from, std::uint64_t to, std::uint32_t generation);
  void has_size(std::uint64_t size) { size_ = size; }
  void has_attribute(std::string value) { attribute_ = std::move(value); }
  // All is as it is now, durably.
  void synced();
  // The word is of this generation, durably, and so the file reaches beyond it.
  void word_is_durable(std::uint64_t word, std::uint32_t generation);

  std::uint64_t size() const { return size_; }

  // Empty, or what is wrong with words that were found from `offset` on, or with the size.
  std::string check_size(std::uint64_t found) const;
  std::string check_attribute(const std::string& found) const;
  std::string check(std::uint32_t file, std::uint64_t offset, const Word* words, std::uint64_t count) const;

 private:
  struct Change {
    std::uint32_t from;  // words of the page
    std::uint32_t to;
    std::uint32_t generation;
  };
  struct Page {
    std::shared_ptr<const PageWords> synced;  // nullptr: zeros
    std::shared_ptr<const PageWords> now;
    std::vector<Change> changes;  // since
  };
  struct Sizes {
    std::uint64_t least;
    std::uint64_t most;
  };
  template <typename Visit>
  void each_page(std::uint64_t from, std::uint64_t to, Visit visit);

  std::map<std::uint64_t, Page> pages_;
  std::vector<Sizes> sizes_{{0, 0}};
  std::uint64_t size_ = 0;
  std::vector<std::string> attributes_{std::string()};
  std::string attribute_;
};

using Names = std::map<std::string, std::uint32_t, std::less<>>;  // path to number

struct CrashModel {
  std::map<std::uint32_t, CrashFile> files;  // by number
  std::vector<Names> names{{}};              // of each moment since the last sync; the last is now
  std::map<std::uint32_t, bool> directories;
  std::map<std::uint32_t, std::string> symlinks;  // to their targets, which begin with the number

  const Names& now() const { return names.back(); }
  // Before an operation on names, which will leave these.
  void names_may_become(Names next) { names.push_back(std::move(next)); }
  // It failed, so that nothing has changed.
  void names_stayed() { names.push_back(names[names.size() - 2]); }
  void names_synced() { names = {now()}; }
  // What was a file's name when it came is durable.
  void file_is_durable(std::uint32_t number);
};

// The model with the lock that its one writer and those who copy it share.
class SharedModel {
 public:
  template <typename Change>
  void change(Change apply) {
    const std::lock_guard lock(mutex_);
    copy_ = nullptr;
    apply(model_);
  }
  // For the writer's thread.
  const CrashModel& get() const { return model_; }
  std::shared_ptr<const CrashModel> copy() {
    const std::lock_guard lock(mutex_);
    if (copy_ == nullptr) copy_ = std::make_shared<const CrashModel>(model_);
    return copy_;
  }

 private:
  std::mutex mutex_;
  CrashModel model_;
  std::shared_ptr<const CrashModel> copy_;
};

}  // namespace holdfast::test
