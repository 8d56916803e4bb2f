#include "cli/program.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <exception>
#include <new>
#include <sstream>
#include <utility>

namespace holdfast::cli {
namespace {

constexpr std::size_t kOptionColumn = 28;

std::string option_names(const CLI::Option& option) {
  std::string names;
  for (const std::string& name : option.get_snames()) names += (names.empty() ? "-" : ", -") + name;
  for (const std::string& name : option.get_lnames()) names += (names.empty() ? "    --" : ", --") + name;
  const std::string value = option.get_option_text().empty() ? option.get_type_name() : option.get_option_text();
  if (option.get_items_expected_max() > 0) names += (option.get_lnames().empty() ? " " : "=") + value;
  return names;
}

std::string two_columns(const std::string& left, const std::string& right) {
  std::string line = "  " + left;
  if (line.size() + 1 < kOptionColumn) {
    line.resize(kOptionColumn, ' ');
  } else {
    line += "\n" + std::string(kOptionColumn, ' ');
  }
  return line + right + "\n";
}

// Broken into lines of at most 90 bytes, at spaces.
std::string wrapped(const std::string& text) {
  constexpr std::size_t kLineBytes = 90;
  std::istringstream words(text);
  std::string lines;
  std::string line;
  for (std::string word; words >> word;) {
    if (!line.empty() && line.size() + 1 + word.size() > kLineBytes) {
      lines += line + "\n";
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
  }
  return lines + line;
}

// One command's options as CLI11 knows them. Operands are what it leaves over, so that no name of a file can be taken
// for syntax.
class Parser {
 public:
  explicit Parser(Command& command) : command_(command), description_(command.describe()), app_("", "") {
    app_.set_help_flag("--help", "show this text");
    app_.allow_extras();
    command_.declare(app_);
  }

  std::string help() const {
    std::string text =
        fmt::format("Usage: holdfast {} [OPTION]...{}{}\n\n{}\n\nOptions:\n", description_.name,
                    description_.operands.empty() ? "" : " ", description_.operands, wrapped(description_.details));
    for (const CLI::Option* option : app_.get_options()) {
      if (!option->get_group().empty() && option->get_name() != "--help") {
        text += two_columns(option_names(*option), option->get_description());
      }
    }
    text += two_columns("    --help", "show this text");
    std::string page = description_.name;
    std::replace(page.begin(), page.end(), ' ', '-');
    if (page.rfind("image-", 0) == 0) page = "image";
    return text + fmt::format("\nMore: man holdfast-{}\n", page);
  }

  int parse_and_run(std::vector<std::string> arguments, Io& io) {
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 takes them
    try {
      app_.parse(arguments);
      return command_.run(operands(), io);
    } catch (const CLI::CallForHelp&) {
      io.out << help();
      return kDone;
    } catch (const CLI::ParseError& error) {
      return misused(io, error.what());
    } catch (const UsageError& error) {
      return misused(io, error.text);
    }
  }

 private:
  Operands operands() const {
    Operands operands;
    bool options_ended = false;
    for (std::string& word : app_.remaining()) {
      if (!options_ended && word == "--") {
        options_ended = true;
      } else if (!options_ended && word.size() > 1 && word[0] == '-' && !command_.takes_as_operand(word)) {
        throw UsageError{fmt::format("there is no option {}", word)};
      } else {
        operands.push_back(std::move(word));
      }
    }
    if (operands.size() < description_.operands_min) {
      throw UsageError{operands.empty()
                           ? fmt::format("{} missing", description_.operands)
                           : fmt::format("something missing after '{}': {}", operands.back(), description_.operands)};
    }
    if (operands.size() > description_.operands_max) {
      throw UsageError{fmt::format("'{}' is one too many", operands[description_.operands_max])};
    }
    for (const std::string& operand : operands) {
      if (operand.empty()) throw UsageError{"an operand is the empty string"};
    }
    return operands;
  }

  int misused(Io& io, const std::string& text) const {
    io.err << "holdfast: " << description_.name << ": " << one_line(text) << "; see holdfast " << description_.name
           << " --help\n";
    return command_.usage_code();
  }

  Command& command_;
  const Description description_;
  CLI::App app_;
};

const char* title(Section section) {
  switch (section) {
    case Section::pools:
      return "Pools";
    case Section::trees:
      return "Trees in and out";
    case Section::files:
      return "Files in a pool";
    case Section::looking:
      return "What a pool holds";
    case Section::showing:
      return "To see it work";
  }
  return "";
}

// The command that the arguments begin with, which is taken off them. Commands may have two words.
std::unique_ptr<Command> take_command(std::vector<std::string>& arguments) {
  for (const CommandEntry& entry : commands()) {
    const std::string name = entry.name;
    const std::size_t space = name.find(' ');
    const bool two = space != std::string::npos;
    if (arguments.size() < (two ? 2U : 1U) || arguments[0] != name.substr(0, space)) continue;
    if (two && arguments[1] != name.substr(space + 1)) continue;
    arguments.erase(arguments.begin(), arguments.begin() + (two ? 2 : 1));
    return entry.make();
  }
  return nullptr;
}

// `holdfast image`, `holdfast image --help`: the first word of commands that have two.
std::string help_of_family(const std::string& word) {
  std::string text;
  for (const CommandEntry& entry : commands()) {
    if (std::string(entry.name).rfind(word + " ", 0) != 0) continue;
    if (!text.empty()) text += "\n";
    text += help_of(*entry.make());
  }
  return text;
}

int run(std::vector<std::string> arguments, Io& io) {
  if (!arguments.empty() && arguments[0] == "help") {
    arguments.erase(arguments.begin());
    arguments.push_back("--help");
  }
  if (arguments.empty()) {
    io.err << "holdfast: a command is missing; see holdfast --help\n";
    return kUsage;
  }
  const std::string first = arguments[0];
  if (first == "--help" || first == "-h") {
    io.out << help_of_all();
    return kDone;
  }
  if (first == "--version" || first == "-V") {
    io.out << "holdfast " HOLDFAST_VERSION_STRING "\n";
    return kDone;
  }
  if (const std::unique_ptr<Command> command = take_command(arguments)) {
    return Parser(*command).parse_and_run(std::move(arguments), io);
  }
  const std::string family = help_of_family(first);
  if (!family.empty() && arguments.size() > 1 && arguments[1] == "--help") {
    io.out << family;
    return kDone;
  }
  if (!family.empty()) {
    io.err << "holdfast: " << first << ": say which; see holdfast " << first << " --help\n";
  } else if (first[0] == '-') {
    io.err << "holdfast: " << one_line(first) << ": there is no such option before a command; see holdfast --help\n";
  } else {
    io.err << "holdfast: " << one_line(first) << ": there is no such command; see holdfast --help\n";
  }
  return kUsage;
}

}  // namespace

std::string help_of(Command& command) { return Parser(command).help(); }

std::string help_of_all() {
  std::string text = "Usage: holdfast COMMAND [OPTION]... POOL [OPERAND]...\n\n" +
                     wrapped(
                         "Works on pools: ext4 images in byte-addressable memory. POOL is a regular file on any "
                         "file system (tmpfs and hugetlbfs included) or a /dev/dax device. Paths inside a pool "
                         "are absolute. Sizes take K, M, G, T (powers of 1024).") +
                     "\n";
  Section section = Section::pools;
  bool first = true;
  for (const CommandEntry& entry : commands()) {
    const Description description = entry.make()->describe();
    if (first || description.section != section) text += fmt::format("\n{}:\n", title(description.section));
    first = false;
    section = description.section;
    text += two_columns(description.name, description.summary);
  }
  text += "\nOptions:\n" + two_columns("    --help", "show this text; after a command, that command's") +
          two_columns("    --version", "show the version") + "\nMore: man holdfast\n";
  return text;
}

int main_with(const std::vector<std::string>& arguments, Io& io) {
  int code = kFailed;
  try {
    code = run(arguments, io);
    io.out.flush();
    if (!io.out && code == kDone) code = complain(io, Error(EIO, "standard output", "cannot be written"));
  } catch (const std::bad_alloc&) {
    code = complain(io, Error(ENOMEM, "holdfast", "out of memory"));
  } catch (const std::exception& error) {
    code = complain(io, Error(EIO, "holdfast", error.what()));
  }
  return code;
}

}  // namespace holdfast::cli
