#include "explorer.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigaction is POSIX
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <semaphore>
#include <thread>

#include "base/epoch.h"
#include "base/mark.h"
#include "base/scheduler.h"
#include "explore/arena.h"
#include "explore/choices.h"
#include "explore/sharing.h"

namespace holdfast::explore {
namespace {

using scheduler::AccessKind;
using scheduler::WaitOutcome;

constexpr std::size_t kStepsMax = 20000;
constexpr int kFound = 3;  // the exit status of a process that cannot go on after a finding

const char* to_string(AccessKind kind) {
  switch (kind) {
    case AccessKind::load:
      return "load";
    case AccessKind::store:
      return "store";
    case AccessKind::update:
      return "update";
    case AccessKind::lock:
      return "lock";
    case AccessKind::wake:
      return "wake";
  }
  return "?";
}

struct Access {
  const void* word = nullptr;  // nullptr: none
  bool writes = false;
  bool conflicts_with(const Access& other) const { return word == other.word && (writes || other.writes); }
};

struct HeldStore {
  void* word;
  std::uint64_t bits;
  scheduler::CommitStore commit;
};

struct Actor {
  std::thread os;
  std::binary_semaphore turn{0};
  std::function<void()> body;
  enum class State : std::uint8_t { ready, locking, asleep, ended } state = State::ended;
  const std::mutex* mutex = nullptr;                 // locking
  const std::atomic<std::uint32_t>* word = nullptr;  // asleep, until it is `token`
  std::uint32_t token = 0;
  bool bounded = false;
  bool timed_out = false;
  std::deque<HeldStore> held;
  Access next;            // that it stands before
  bool is_early = false;  // stopped before `next`, with which nothing since has conflicted
};

constexpr unsigned kNobody = ~0U;
thread_local unsigned self = kNobody;

// What happened, for a report: who made which step.
struct Step {
  unsigned who;
  const char* what;  // a mark, or nullptr: an access
  AccessKind kind;
};

class Explorer final : public scheduler::Scheduler {
 public:
  explicit Explorer(const Bounds& bounds) : bounds_(bounds) {}
  ~Explorer() override {
    stopping_ = true;
    for (Actor& actor : actors_) {
      actor.turn.release();
      actor.os.join();
    }
  }

  void run(Scene& scene) {
    std::vector<std::function<void()>> bodies = scene.threads();
    while (actors_.size() < bodies.size()) {
      Actor& actor = actors_.emplace_back();
      actor.os = std::thread([this, which = static_cast<unsigned>(actors_.size() - 1)] { serve(which); });
    }
    steps_.clear();
    preemptions_ = 0;
    delays_ = 0;
    is_repetition_ = false;
    failure_.reset();
    for (std::size_t i = 0; i < actors_.size(); ++i) {
      actors_[i].state = i < bodies.size() ? Actor::State::ready : Actor::State::ended;
      actors_[i].is_early = false;
      if (i < bodies.size()) actors_[i].body = std::move(bodies[i]);
    }
    scheduler::install(this);
    mark::set_handler([](void* explorer, const char* name) { static_cast<Explorer*>(explorer)->passed(name); }, this);
    give_turn(decide(kNobody));
    all_ended_.acquire();
    mark::set_handler(nullptr, nullptr);
    scheduler::install(nullptr);
    scene.after();
  }

  void begin_schedule() { choices_.rewind(); }
  // False: all were run.
  bool next_schedule() {
    if (!sharing_.learned()) return choices_.advance();
    choices_ = {};
    return true;
  }
  std::size_t decisions() const { return choices_.count(); }
  const std::optional<std::string>& failure() const { return failure_; }
  void fail(const std::string& what) {
    const arena::Outside outside;
    if (!failure_) failure_ = what;
  }

  // The steps of each stretch that a thread ran, with the marks that it passed. Of an endless schedule the beginning.
  std::string schedule() const {
    constexpr unsigned kStretchesMax = 60;
    std::string text;
    unsigned stretches = 0;
    for (std::size_t i = 0; i < steps_.size();) {
      if (++stretches > kStretchesMax) return text + fmt::format("  and so on, {} steps in all\n", steps_.size());
      const unsigned who = steps_[i].who;
      std::size_t accesses = 0;
      std::string marks;
      const Step* last = nullptr;
      for (; i < steps_.size() && steps_[i].who == who; ++i) {
        if (steps_[i].what == nullptr) {
          ++accesses;
          last = &steps_[i];
        } else {
          marks += fmt::format("{}{}", marks.empty() ? "" : ", ", steps_[i].what);
        }
      }
      const bool stopped = i < steps_.size() && last != nullptr;
      text += fmt::format("  thread {}: {} accesses{}{}{}\n", who, accesses, marks.empty() ? "" : "; passes ", marks,
                          stopped ? fmt::format("; stops before a {}", to_string(last->kind)) : "");
    }
    return text;
  }

  // --- the seam ---
  void before_access(const void* word, AccessKind kind) override {
    if (self == kNobody) return;
    const arena::Outside outside;
    note(kind);
    const Access access{word, kind != AccessKind::load && kind != AccessKind::wake};
    if (sharing_.meets_others(word, self, access.writes)) {
      actors_[self].next = access;
      reschedule();
      actors_[self].next = {};
    }
    happens(access);
    if (kind != AccessKind::load && kind != AccessKind::store) commit_held();
  }

  bool hold_back(void* word, std::uint64_t bits, scheduler::CommitStore commit) override {
    if (self == kNobody) return false;
    const arena::Outside outside;
    Actor& actor = actors_[self];
    // A store buffer is a queue: what comes behind a store that is held waits with it.
    if (actor.held.empty()) {
      if (delays_ == bounds_.delays || !others_run()) return false;
      if (choose(2) == 0) return false;
      ++delays_;
      steps_.push_back({self, "(the store is held back)", AccessKind::store});
    }
    actor.held.push_back({word, bits, commit});
    return true;
  }

  bool own_store(const void* word, std::uint64_t& bits) override {
    if (self == kNobody) return false;
    const std::deque<HeldStore>& held = actors_[self].held;
    for (auto store = held.rbegin(); store != held.rend(); ++store) {
      if (store->word != word) continue;
      bits = store->bits;
      return true;
    }
    return false;
  }

  WaitOutcome run_wait(const std::atomic<std::uint32_t>& word, std::uint32_t token, bool bounded) override {
    if (self == kNobody) return WaitOutcome::not_controlled;
    const arena::Outside outside;
    commit_held();
    Actor& actor = actors_[self];
    actor.word = &word;
    actor.token = token;
    actor.bounded = bounded;
    actor.timed_out = false;
    actor.state = Actor::State::asleep;
    reschedule();
    return actor.timed_out ? WaitOutcome::timed_out : WaitOutcome::token;
  }

  bool lock(std::mutex& mutex) override {
    if (self == kNobody) return false;
    const arena::Outside outside;
    before_access(&mutex, AccessKind::lock);
    while (!mutex.try_lock()) {
      actors_[self].mutex = &mutex;
      actors_[self].state = Actor::State::locking;
      reschedule();
    }
    return true;
  }

  void unlocked(std::mutex& mutex) override {
    if (self == kNobody) return;
    const arena::Outside outside;
    commit_held();
    happens({&mutex, true});
    for (Actor& actor : actors_) {
      if (actor.state == Actor::State::locking && actor.mutex == &mutex) actor.state = Actor::State::ready;
    }
  }

 private:
  void serve(unsigned which) {
    for (;;) {
      actors_[which].turn.acquire();
      if (stopping_) return;
      self = which;
      {
        const arena::Scope own(which + 1);
        actors_[which].body();
      }
      commit_held();
      self = kNobody;
      actors_[which].state = Actor::State::ended;
      actors_[which].body = nullptr;
      if (const unsigned next = decide(which); next != kNobody) {
        give_turn(next);
      } else {
        all_ended_.release();
      }
    }
  }

  void passed(const char* name) {
    const arena::Outside outside;
    if (self != kNobody) steps_.push_back({self, name, AccessKind::load});
  }
  void note(AccessKind kind) {
    steps_.push_back({self, nullptr, kind});
    if (steps_.size() < kStepsMax) return;
    fail("a thread never ends");
    give_up();
  }

  void commit_held() {
    std::deque<HeldStore>& held = actors_[self].held;
    for (const HeldStore& store : held) {
      store.commit(store.word, store.bits);
      happens({store.word, true});
    }
    held.clear();
  }

  bool others_run() const {
    for (std::size_t i = 0; i < actors_.size(); ++i) {
      if (i != self && actors_[i].state != Actor::State::ended) return true;
    }
    return false;
  }

  static bool can_run(const Actor& actor) {
    if (actor.state == Actor::State::ready) return true;
    return actor.state == Actor::State::asleep && actor.word->load(std::memory_order_seq_cst) == actor.token;
  }

  void happens(const Access& access) {
    for (unsigned i = 0; i < actors_.size(); ++i) {
      if (i != self && actors_[i].next.conflicts_with(access)) actors_[i].is_early = false;
    }
  }

  std::size_t choose(std::size_t count) { return is_repetition_ ? 0 : choices_.choose(count); }

  // Who goes on. `running` could go on itself where it is ready; to stop it then is a preemption.
  unsigned decide(unsigned running) {
    std::array<unsigned, 8> options{};
    std::size_t count = 0;
    const bool may_stay = running != kNobody && can_run(actors_[running]);
    if (may_stay) options.at(count++) = running;
    if (!may_stay || preemptions_ < bounds_.preemptions) {
      for (unsigned i = 0; i < actors_.size(); ++i) {
        if (i != running && can_run(actors_[i]) && !actors_[i].is_early) options.at(count++) = i;
      }
    }
    if (count == 0) return when_nobody_can();
    const unsigned chosen = options.at(choose(count));
    if (may_stay && chosen != running) {
      ++preemptions_;
      actors_[running].is_early = actors_[running].next.word != nullptr && actors_[running].held.empty();
    }
    if (actors_[chosen].state == Actor::State::asleep) actors_[chosen].state = Actor::State::ready;
    return chosen;
  }

  // Deadlines pass only when nothing else can happen.
  unsigned when_nobody_can() {
    for (unsigned i = 0; i < actors_.size(); ++i) {
      if (!actors_[i].is_early || !can_run(actors_[i])) continue;
      actors_[i].is_early = false;
      is_repetition_ = true;
      return i;
    }
    bool all_ended = true;
    for (unsigned i = 0; i < actors_.size(); ++i) {
      Actor& actor = actors_[i];
      if (actor.state == Actor::State::asleep && actor.bounded) {
        actor.timed_out = true;
        actor.state = Actor::State::ready;
        return i;
      }
      all_ended = all_ended && actor.state == Actor::State::ended;
    }
    if (all_ended) return kNobody;
    fail("all threads wait, for ever");
    give_up();
  }

  void give_turn(unsigned next) { actors_[next].turn.release(); }

  void reschedule() {
    const unsigned next = decide(self);
    if (next == self) return;
    give_turn(next);
    actors_[self].turn.acquire();
  }

  [[noreturn]] void give_up() const;

  const Bounds bounds_;
  Choices choices_;
  Sharing sharing_;
  std::deque<Actor> actors_;
  std::binary_semaphore all_ended_{0};
  bool stopping_ = false;
  unsigned preemptions_ = 0;
  unsigned delays_ = 0;
  bool is_repetition_ = false;  // of a schedule that is run elsewhere: to its end, without further decisions
  std::vector<Step> steps_;
  std::optional<std::string> failure_;
};

Explorer* exploring = nullptr;
std::uint64_t schedules_run = 0;

void report_and_end(const std::string& what, const std::string& schedule) {
  fmt::print("found after {} schedules: {}\n{}", schedules_run, what, schedule);
  static_cast<void>(std::fflush(stdout));
  _exit(kFound);
}

void Explorer::give_up() const {
  report_and_end(*failure_, schedule());
  std::abort();
}

void on_abort(int /*signal*/) {
  if (exploring != nullptr) report_and_end("a check of the code failed (above)", exploring->schedule());
}

// One processor: a change of turns is then a context switch and no wake of another processor.
class OneProcessor {
 public:
  OneProcessor() {
    sched_getaffinity(0, sizeof before_, &before_);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<unsigned>(sched_getcpu()), &one);
    sched_setaffinity(0, sizeof one, &one);
  }
  ~OneProcessor() { sched_setaffinity(0, sizeof before_, &before_); }
  OneProcessor(const OneProcessor&) = delete;
  OneProcessor& operator=(const OneProcessor&) = delete;

 private:
  cpu_set_t before_{};
};

std::unique_ptr<Scene> stage(const Program& program) {
  const arena::Scope own(0);
  return program.stage();
}

}  // namespace

void fail(const std::string& what) {
  if (exploring != nullptr) exploring->fail(what);
}

Findings explore(const Program& program, const Bounds& bounds) {
  const OneProcessor one_processor;
  Explorer explorer(bounds);
  exploring = &explorer;
  struct sigaction action {};
  action.sa_handler = on_abort;
  struct sigaction before {};
  sigaction(SIGABRT, &action, &before);
  Findings findings;
  schedules_run = 0;
  do {
    explorer.begin_schedule();
    std::unique_ptr<Scene> scene = stage(program);
    explorer.run(*scene);
    scene.reset();
    // What one schedule retired is not collected in another, which would go a way of its own.
    epoch::flush();
    arena::take_back();
    findings.schedules = ++schedules_run;
    findings.decisions_max = std::max<std::uint64_t>(findings.decisions_max, explorer.decisions());
    if (explorer.failure()) {
      findings.failure = explorer.failure();
      findings.schedule = explorer.schedule();
      break;
    }
    findings.all = !explorer.next_schedule();
  } while (!findings.all && (bounds.schedules == 0 || findings.schedules < bounds.schedules));
  sigaction(SIGABRT, &before, nullptr);
  exploring = nullptr;
  return findings;
}

}  // namespace holdfast::explore
