// `verify DIR [--from=N] [--to=N] [--read-only]`: rows must be a dense prefix, in all families together, each with its right value.
#include "commands.h"
#include "database.h"
#include "report.h"

namespace {

void CheckRows(Database& database, uint64_t from, Report* report) {
  std::map<uint64_t, bool> rows;
  for (auto& [name, handle] : database.handles()) {
    if (name[0] == 'x') continue;
    std::unique_ptr<rocksdb::Iterator> it(database.db()->NewIterator(rocksdb::ReadOptions(), handle));
    for (it->Seek("r"); it->Valid() && it->key()[0] == 'r'; it->Next()) {
      const uint64_t row = strtoull(it->key().data() + 1, nullptr, 10);
      if (!ValueIsRight(row, it->value().ToString())) report->Problem("row " + std::to_string(row) + " has a wrong value");
      if (row > 0 && !rows.emplace(row, true).second) report->Problem("row " + std::to_string(row) + " is there twice");
    }
    if (!it->status().ok()) report->Problem("family " + name + ": " + it->status().ToString());
  }
  uint64_t expected = from;
  for (auto it = rows.lower_bound(from); it != rows.end(); ++it, ++expected) {
    if (it->first == expected) continue;
    report->Problem("rows " + std::to_string(expected) + " to " + std::to_string(it->first - 1) + " are missing, later ones are there");
    expected = it->first;
  }
  report->rows = rows.empty() ? 0 : rows.rbegin()->first;
}

// Of the temporary keys only the last row's may be left.
void CheckTemporary(Database& database, Report* report) {
  for (auto& [name, handle] : database.handles()) {
    std::unique_ptr<rocksdb::Iterator> it(database.db()->NewIterator(rocksdb::ReadOptions(), handle));
    for (it->Seek("t"); it->Valid() && it->key()[0] == 't'; it->Next()) {
      const uint64_t row = strtoull(it->key().data() + 1, nullptr, 10);
      // A row's range deletion is in the family of the row before it.
      if (database.handles().size() == 1 && row + 1 < report->rows) report->Problem("temporary key " + it->key().ToString() + " came back");
    }
  }
}

void CheckFamilies(Database& database, const Flags& flags, Report* report) {
  const uint64_t every = flags.Number("add-cf", 0);
  for (uint64_t row = every; every > 0 && row <= report->rows; row += every) {
    const auto it = database.handles().find(Key('x', row));
    const uint64_t dropped_at = flags.Has("drop-cf") && every >= 2 ? row + every / 2 : UINT64_MAX;
    if (report->rows >= dropped_at) {
      if (it != database.handles().end()) report->Problem("family " + Key('x', row) + " was dropped and is there");
      continue;
    }
    std::string value;
    if (it == database.handles().end()) {
      if (report->rows + 1 != dropped_at) report->Problem("family " + Key('x', row) + " is missing");
    } else if (!database.db()->Get(rocksdb::ReadOptions(), it->second, "x", &value).ok() || value != it->first) {
      report->Problem("family " + it->first + " has lost its row");
    }
  }
}

}  // namespace

int VerifyCommand(const Flags& flags) {
  Report report;
  if (flags.Has("2pc") && flags.Has("read-only")) {
    fprintf(stderr, "RocksDB can't open prepared transactions read-only\n");
    return 64;
  }
  Database database(flags.positional.at(1), flags);
  const rocksdb::Status opened = database.Open(flags.Has("read-only"));
  if (!opened.ok()) {
    report.Problem("it does not open: " + opened.ToString());
    return report.Print();
  }
  CheckRows(database, flags.Number("from", 1), &report);
  CheckTemporary(database, &report);
  CheckFamilies(database, flags, &report);
  if (report.rows < flags.Number("to", 0)) {
    report.Problem("rows after " + std::to_string(report.rows) + " are missing, up to " + flags.Text("to"));
  }
  report.sequence = database.db()->GetLatestSequenceNumber();
  return report.Print();
}
