#include "cli/command_list.h"

namespace holdfast::cli {

const std::vector<CommandEntry>& commands() {
  static const std::vector<CommandEntry> entries{
      {"mkfs", make_mkfs},
      {"check", make_check},
      {"image export", make_image_export},
      {"image import", make_image_import},

      {"put", make_put},
      {"get", make_get},

      {"ls", make_ls},
      {"stat", make_stat},
      {"cat", make_cat},
      {"mkdir", make_mkdir},
      {"rm", make_rm},
      {"mv", make_mv},
      {"ln", make_ln},
      {"truncate", make_truncate},
      {"fallocate", make_fallocate},
      {"punch", make_punch},
      {"chmod", make_chmod},
      {"chown", make_chown},

      {"df", make_df},
      {"extents", make_extents},
      {"badblocks", make_badblocks},

      {"demo", make_demo},
      {"bench", make_bench},
  };
  return entries;
}

}  // namespace holdfast::cli
