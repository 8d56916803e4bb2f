// What a command of the program is. A command says what it is called, which options it takes, and does its work;
// program.cc parses, prints the help and reports. To add one: write a class, and a line in command_list.cc.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "cli/io.h"

namespace CLI {
class App;
}

namespace holdfast::cli {

using Operands = std::vector<std::string>;

inline constexpr std::size_t kManyOperands = static_cast<std::size_t>(-1);

// The sections of `holdfast --help`.
enum class Section { pools, trees, files, looking, showing };

struct Description {
  std::string name;      // "put"; "image export" for a command of two words
  std::string operands;  // "POOL SRC... DEST", as the usage line shows it
  std::string summary;   // a line
  std::string details;   // what --help says below the usage line; wrapped there
  std::size_t operands_min = 0;
  std::size_t operands_max = kManyOperands;
  Section section = Section::files;
};

class Command {
 public:
  Command() = default;
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;
  virtual ~Command() = default;

  virtual Description describe() const = 0;

  // Declares the options, bound to members. Operands are not declared here.
  virtual void declare(CLI::App& /*options*/) {}

  // Whether an argument that begins with a dash and is no option is an operand all the same (`chmod -x`).
  virtual bool takes_as_operand(const std::string& /*argument*/) const { return false; }

  // The exit code for wrong options and operands.
  virtual int usage_code() const { return kUsage; }

  // Does the work. The number of operands is right. Returns the exit code; complaints are made already.
  virtual int run(const Operands& operands, Io& io) = 0;
};

// Thrown by run() before anything was done: a wrong value of an option or operand. Becomes one line and exit code 2.
struct UsageError {
  std::string text;
};

struct CommandEntry {
  const char* name;
  std::unique_ptr<Command> (*make)();
};

// Every command, in the order of the help.
const std::vector<CommandEntry>& commands();

}  // namespace holdfast::cli
