// The program `holdfast`: finds the command, parses its options, runs it.
#pragma once

#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/io.h"

namespace holdfast::cli {

// What main does, without a process: `arguments` without the program's name. Returns the exit code. Never throws.
int main_with(const std::vector<std::string>& arguments, Io& io);

// The text of `holdfast COMMAND --help`.
std::string help_of(Command& command);

// The text of `holdfast --help`.
std::string help_of_all();

}  // namespace holdfast::cli
