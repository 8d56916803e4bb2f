// holdfast get: trees of a pool out to the host.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>

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

class Get final : public Command {
 public:
  Description describe() const override {
    return {.name = "get",
            .operands = "POOL PATH... DEST",
            .summary = "copy trees out of a pool",
            .details =
                "Copies files and whole trees of the pool to the host, as cp -a does: modes, owners (for root), "
                "times, hard and symbolic links, holes, extended attributes, access control lists, fifos, "
                "sockets and (for root) device nodes. DEST is a path of the host: a directory to put things "
                "into, or a new name.",
            .operands_min = 3,
            .section = Section::trees};
  }

  void declare(CLI::App& options) override {
    options.add_flag("--verify", options_.verify, "compare afterwards what was written with what the pool holds");
    options.add_flag("-q,--quiet", options_.quiet, "no progress and no summary");
    options.add_flag("--json", options_.json, "the summary as JSON");
  }

  int run(const Operands& operands, Io& io) override {
    const std::string& pool = operands[0];
    const Operands sources(operands.begin() + 1, operands.end() - 1);
    std::for_each(sources.begin(), sources.end(), require_absolute);
    TransferReport report;
    const int code = read_pool(pool, io, [&](Filesystem& fs) {
      const PoolTree tree(fs, pool);
      return copy_out(tree, pool, sources, operands.back(), io, report);
    });
    return code != kDone ? code : summarize(report, options_, io);
  }

 private:
  int copy_out(const PoolTree& tree, const std::string& pool, const Operands& sources, const std::string& dest, Io& io,
               TransferReport& report) const {
    HostTree host;
    const Result<std::vector<Route>> routes = find_routes(tree, sources, host, dest);
    if (!routes) return complain(io, routes.error());
    const Result<Node> carrier = host.look_following(pool);
    std::optional<Identity> pool_file;
    if (carrier) pool_file = carrier->identity;
    copy_routes(tree, host, *routes, options_, io, pool_file, report);
    if (options_.verify && !interrupted()) {
      verify_routes(tree, host, *routes, options_, {.owners = geteuid() == 0, .skip = std::nullopt}, io, report);
    }
    return kDone;
  }

  TransferOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_get() { return std::make_unique<Get>(); }

}  // namespace holdfast::cli
