// A random program of file operations on a pool, which tells a model what each may leave behind (crash_model.h): by one
// thread, with windows that show files, pins that a device stores through, and quarantine.
//
// The same seed gives the same program. What was done is kept as text, a line each.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <holdfast/holdfast.h>

#include "support/crash_model.h"

namespace holdfast::test {

// The lines of a program, which others may read while it runs.
class CrashLog {
 public:
  void add(std::string line);
  std::string text() const;

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

// What a program does most. Everything else comes, too.
enum class CrashMix : std::uint8_t {
  everything,
  churn,    // blocks of extents that become blocks of bytes
  updates,  // bytes written over in place and synced, with nothing to commit
  names,    // symbolic links, and attributes that lie in the inode and in blocks of their own
  memory,   // stores through windows and pins
  losses,   // memory that is lost, free and of files, which punch it at once
};

class CrashActor {
 public:
  static constexpr std::uint64_t kPages = 64;          // the largest file
  static constexpr std::uint32_t kForeign = 0xFFFFFF;  // the file number in words that no file is ever to show

  // Where a program can make its stores durable itself: flushes what it has stored there, and waits.
  using Persist = std::function<void(std::uint64_t device_offset, std::uint64_t length)>;

  CrashActor(Filesystem fs, SharedModel& model, CrashLog& log, CrashMix mix, std::uint64_t seed, Persist persist);

  // Empty, or what an operation said that it must not say.
  std::string step();
  // For a new life of the pool: gives up what is held and closes it. Everything is durable then.
  std::string close();
  void reopen(Filesystem fs) { fs_.emplace(std::move(fs)); }
  bool wants_new_life() const { return wants_new_life_; }

  // Fills the pool but for so many bytes, so that what is freed is soon used again.
  std::string fill_up(std::uint64_t leave);

 private:
  // A page of a pin. What has left its file is the file's again if the power fails before the next commit.
  enum class Attached : std::uint8_t { yes, until_commit, no };
  struct Held {
    Pin pin;
    std::uint32_t number = 0;
    std::uint64_t first = 0;  // page
    std::vector<Attached> attached;
  };
  struct Shown {
    Window window;
    std::uint32_t number = 0;
  };
  struct Words {
    std::uint64_t from = 0;
    std::uint64_t to = 0;
    std::uint64_t offset() const { return from * sizeof(Word); }
    std::uint64_t length() const { return (to - from) * sizeof(Word); }
  };

  std::uint64_t below(std::uint64_t count) { return random_() % count; }
  bool one_in(std::uint64_t count) { return below(count) == 0; }
  Words some_words();
  std::string ended(const char* what, const Status& status, std::initializer_list<int> may_say);

  // --- names ---
  std::optional<std::string> some_path(bool file);
  std::string new_path();
  std::string create(const std::string& path);
  std::string create_many();
  std::string remove_many();
  std::string unlink(const std::string& path);
  std::string unlink_some();
  std::string rename();
  std::string link();
  std::string make_directory();
  std::string remove_directory();
  std::string symlink();
  std::string set_attribute();
  template <typename Do>
  std::string change_names(const char* what, Names next, Do apply);
  void forget_unnamed();

  // --- bytes (crash_actor_bytes.cc) ---
  std::string on_file();
  std::string write(std::uint32_t number, File& file, Words words);
  std::string scatter(std::uint32_t number, File& file);
  std::string append(std::uint32_t number, File& file);
  std::string churn(std::uint32_t number, File& file);
  std::string truncate(std::uint32_t number, File& file, std::uint64_t size);
  std::string punch(std::uint32_t number, File& file);
  std::string allocate(std::uint32_t number, File& file);
  std::string update(std::uint32_t number, File& file);
  std::string lose(std::uint32_t number, File& file);
  std::string sync_file(std::uint32_t number, File& file, bool data);
  std::string sync_all();
  void fill_buffer(std::uint32_t number, Words words, std::uint32_t generation);
  BreakOptions policy();

  // --- memory (crash_actor_memory.cc) ---
  void detach(std::uint32_t number, std::uint64_t first_page, std::uint64_t end_page);
  void committed();
  std::string show(std::uint32_t number, File& file);
  std::string store();
  std::string pin(std::uint32_t number, File& file);
  std::string device_stores();
  std::string on_memory();
  bool persists();
  void durable(std::uint32_t number, std::uint64_t word, std::uint32_t generation);

  std::optional<Filesystem> fs_;
  SharedModel& model_;
  CrashLog& log_;
  const CrashMix mix_;
  std::mt19937_64 random_;
  const Persist persist_;
  std::map<std::uint32_t, File> open_;  // by number
  std::vector<Held> held_;
  std::vector<Shown> shown_;
  std::vector<Word> buffer_;
  std::uint32_t numbers_ = 0;
  std::uint32_t generations_ = 0;
  std::uint32_t many_ = 0;  // names of create_many that are there
  std::uint64_t cluster_pages_ = 1;
  bool wants_new_life_ = false;
};

}  // namespace holdfast::test
