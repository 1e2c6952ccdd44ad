// A metadata master for tests: writes numbered, checksummed rows into RocksDB with each feature by flag, and verifies directories for holes.
#include "commands.h"

int main(int argc, char** argv) {
  const Flags flags = Flags::Parse(
      argc, argv,
      {"rows",        "seconds",     "rate",        "group",        "until-stdin",  "barrier",     "health",       "crash",
       "cfs",         "value-bytes", "write-buffer", "table-bytes", "max-manifest", "recycle",     "wal-compression", "wal-dir",
       "wal-ttl",     "track-wals",  "blob",        "2pc",          "atomic-flush", "delete-range", "merge",       "log-data",
       "ingest",      "add-cf",      "drop-cf",     "disable-wal",  "mixed-wal",    "flush",       "manual-wal-flush", "sync",
       "absolute-consistency", "from", "to",        "read-only"});
  const std::string command = flags.positional.size() == 2 ? flags.positional[0] : "";
  if (command == "write") return WriteCommand(flags);
  if (command == "verify") return VerifyCommand(flags);
  if (command == "journal") return JournalCommand(flags);
  if (command == "verify-journal") return VerifyJournalCommand(flags);
  fprintf(stderr, "usage: test-master write|verify|journal|verify-journal DIRECTORY [--flag[=value] ...]\n");
  return 64;
}
