// holdfast put: trees of the host into a pool.
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/result.h"
#include "cli/command_list.h"
#include "cli/host_tree.h"
#include "cli/interrupt.h"
#include "cli/path.h"
#include "cli/pool.h"
#include "cli/pool_tree.h"
#include "cli/transfer.h"

namespace holdfast::cli {
namespace {

class Put final : public Command {
 public:
  Description describe() const override {
    return {.name = "put",
            .operands = "POOL SRC... DEST",
            .summary = "copy trees into a pool",
            .details =
                "Copies files and whole trees of the host into the pool, as cp -a does: modes, owners, times, hard "
                "and symbolic links, holes, extended attributes, access control lists, fifos, sockets and device "
                "nodes. DEST is a path in the pool: a directory to put things into, or a new name.",
            .operands_min = 3,
            .section = Section::trees};
  }

  void declare(CLI::App& options) override {
    options.add_flag("--verify", options_.verify, "compare afterwards what the closed pool holds with the source");
    options.add_flag("-q,--quiet", options_.quiet, "no progress and no summary");
    options.add_flag("--json", options_.json, "the summary as JSON");
  }

  int run(const Operands& operands, Io& io) override {
    const std::string& pool = operands[0];
    const Operands sources(operands.begin() + 1, operands.end() - 1);
    const std::string& dest = operands.back();
    require_absolute(dest);
    const HostTree host;
    std::optional<Identity> pool_file;
    if (const Result<Node> node = host.look_following(pool)) pool_file = node->identity;
    TransferReport report;
    std::vector<Route> routes;
    int code = write_pool(pool, io, [&](Filesystem& fs) {
      PoolTree tree(fs, pool);
      Result<std::vector<Route>> found = find_routes(host, sources, tree, dest);
      if (!found) return complain(io, found.error());
      routes = std::move(found).value();
      copy_routes(host, tree, routes, options_, io, pool_file, report);
      return kDone;
    });
    if (code != kDone) return code;
    if (options_.verify && !interrupted()) {
      code = read_pool(pool, io, [&](Filesystem& fs) {
        verify_routes(host, PoolTree(fs, pool), routes, options_, {.owners = true, .skip = pool_file}, io, report);
        return kDone;
      });
    }
    return std::max(code, summarize(report, options_, io));
  }

 private:
  TransferOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_put() { return std::make_unique<Put>(); }

}  // namespace holdfast::cli
