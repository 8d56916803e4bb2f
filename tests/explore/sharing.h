// Which words several threads of a program use, so that decisions are made only where they can matter: an access
// commutes with everything that the others do when no other thread ever writes the word, or, for a write, uses it at
// all.
//
// What is not known before is learnt by running. A schedule that shows a word to be shared may have passed over
// decisions at it: then the exploration begins again, and knows it from the start. In the end all schedules were run by
// what is known, and none of them showed more.
//
// A word is known by its address, which another schedule may give to something else. That makes words look shared that
// are not, and may go on for ever; so after a while words that are new are taken as shared.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <utility>

namespace holdfast::explore {

class Sharing {
 public:
  // Notes an access of the thread; whether it can conflict with an access of another one.
  bool meets_others(const void* word, unsigned thread, bool writes) {
    const auto known = words_.find(word);
    if (known == words_.end() && restarts_ >= kPatience) return true;
    Users& users = known == words_.end() ? words_[word] : known->second;
    const std::uint32_t me = 1U << thread;
    const std::uint32_t before_writers = users.writers;
    const std::uint32_t before_readers = users.readers;
    (writes ? users.writers : users.readers) |= me;
    const std::uint32_t others = writes ? (users.writers | users.readers) & ~me : users.writers & ~me;
    const bool is_new = before_writers != users.writers || before_readers != users.readers;
    if (is_new && others != 0) learned_ = true;
    return others != 0;
  }
  // Whether the schedules since the last call showed something new.
  bool learned() {
    restarts_ += learned_ ? 1 : 0;
    return std::exchange(learned_, false);
  }

 private:
  static constexpr unsigned kPatience = 200;
  struct Users {
    std::uint32_t writers = 0;
    std::uint32_t readers = 0;
  };
  std::unordered_map<const void*, Users> words_;
  bool learned_ = false;
  unsigned restarts_ = 0;
};

}  // namespace holdfast::explore
