// The maker of every command; each is defined in the file that bears its name. command_list.cc puts them in order.
#pragma once

#include <memory>

#include "cli/command.h"

namespace holdfast::cli {

std::unique_ptr<Command> make_badblocks();
std::unique_ptr<Command> make_bench();
std::unique_ptr<Command> make_cat();
std::unique_ptr<Command> make_check();
std::unique_ptr<Command> make_chmod();
std::unique_ptr<Command> make_chown();
std::unique_ptr<Command> make_demo();
std::unique_ptr<Command> make_df();
std::unique_ptr<Command> make_extents();
std::unique_ptr<Command> make_fallocate();
std::unique_ptr<Command> make_get();
std::unique_ptr<Command> make_image_export();
std::unique_ptr<Command> make_image_import();
std::unique_ptr<Command> make_ln();
std::unique_ptr<Command> make_ls();
std::unique_ptr<Command> make_mkdir();
std::unique_ptr<Command> make_mkfs();
std::unique_ptr<Command> make_mv();
std::unique_ptr<Command> make_punch();
std::unique_ptr<Command> make_put();
std::unique_ptr<Command> make_rm();
std::unique_ptr<Command> make_stat();
std::unique_ptr<Command> make_truncate();

}  // namespace holdfast::cli
