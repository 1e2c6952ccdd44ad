// `write DIR`: numbered rows with every feature by flag.
#include "commands.h"
#include "database.h"
#include "run.h"

namespace {

class Writer {
 public:
  Writer(Database& database, const Flags& flags) : database_(database), flags_(flags) {
    options_.sync = flags.Has("sync");
    options_.disableWAL = flags.Has("disable-wal");
  }

  // Rows [row, row + Width()).
  void Write(uint64_t row) {
    ChangeFamilies(row);
    if (Every("ingest", row)) return Ingest(row);
    if (flags_.Has("2pc")) return WriteTwoTransactions(row);
    rocksdb::WriteBatch batch;
    Fill(row, &batch);
    rocksdb::WriteOptions options = options_;
    const bool without_wal = Every("mixed-wal", row);
    if (without_wal) options.disableWAL = true;
    Check(database_.db()->Write(options, &batch), "write");
    if (without_wal) Flush();
  }

  uint64_t Width() const { return flags_.Has("2pc") ? 2 : 1; }

  // What was written so far survives the death of the process.
  void Settle(uint64_t row) {
    if (flags_.Has("manual-wal-flush")) Check(database_.db()->FlushWAL(flags_.Has("sync")), "flush of the WAL");
    if (Every("flush", row)) Flush();
  }

  // True if everything up to `row` is in files.
  bool Durable(uint64_t row) const { return !flags_.Has("disable-wal") || Every("flush", row); }

  void Flush() { Check(database_.db()->Flush(rocksdb::FlushOptions(), database_.AllHandles()), "flush"); }

 private:
  bool Every(const char* flag, uint64_t row) const {
    const uint64_t every = flags_.Number(flag, 0);
    return every > 0 && row % every == 0;
  }

  void Fill(uint64_t row, rocksdb::WriteBatchBase* batch) {
    auto* family = database_.Family(row);
    const std::string value = Value(row, flags_.Number("value-bytes", 200));
    if (flags_.Has("merge") && row % 3 == 0) {
      Check(batch->Merge(family, Key('r', row), value.substr(0, value.size() / 2)), "merge");
      Check(batch->Merge(family, Key('r', row), value.substr(value.size() / 2)), "merge");
    } else {
      Check(batch->Put(family, Key('r', row), value), "put");
    }
    if (flags_.Has("log-data")) Check(batch->PutLogData("row " + std::to_string(row)), "log data");
    if (!flags_.Has("delete-range")) return;
    Check(batch->Put(family, Key('t', row), "temporary"), "put");
    if (row > 1) Check(batch->DeleteRange(database_.Family(row - 1), Key('t', 0), Key('t', row)), "delete range");
    if (row % 5 == 0) Check(batch->SingleDelete(family, "never"), "single delete");
  }

  void Ingest(uint64_t row) {
    const std::string file = database_.path() + "/../ingest-" + std::to_string(getpid()) + ".sst";
    rocksdb::Options options = DatabaseOptions(flags_);
    rocksdb::SstFileWriter writer(rocksdb::EnvOptions(), options);
    Check(writer.Open(file), "table writer");
    Check(writer.Put(Key('r', row), Value(row, flags_.Number("value-bytes", 200))), "table writer");
    Check(writer.Finish(), "table writer");
    rocksdb::IngestExternalFileOptions ingest;
    ingest.move_files = true;
    Check(database_.db()->IngestExternalFile(database_.Family(row), {file}, ingest), "ingest");
    remove(file.c_str());
  }

  // Both prepared before the first is committed, so that a WAL switch may fall between them.
  void WriteTwoTransactions(uint64_t row) {
    std::unique_ptr<rocksdb::Transaction> pair[2];
    for (uint64_t i = 0; i < 2; i++) {
      pair[i].reset(database_.transactions()->BeginTransaction(options_));
      Check(pair[i]->SetName(Key('x', row + i)), "name of a transaction");
      Check(pair[i]->Put(database_.Family(row + i), Key('r', row + i), Value(row + i, flags_.Number("value-bytes", 200))), "put");
      Check(pair[i]->Prepare(), "prepare");
    }
    for (auto& transaction : pair) Check(transaction->Commit(), "commit");
  }

  void ChangeFamilies(uint64_t row) {
    const uint64_t every = flags_.Number("add-cf", 0);
    if (every > 0 && row % every == 0) {
      rocksdb::ColumnFamilyHandle* handle = nullptr;
      const std::string name = Key('x', row);
      if (database_.handles().count(name) > 0) return;
      Check(database_.db()->CreateColumnFamily(DatabaseOptions(flags_), name, &handle), "add a family");
      database_.handles()[name] = handle;
      Check(database_.db()->Put(options_, handle, "x", name), "put");
    }
    if (!flags_.Has("drop-cf") || every < 2 || row <= every || row % every != every / 2) return;
    const auto it = database_.handles().find(Key('x', row - every / 2));
    if (it == database_.handles().end()) return;
    Check(database_.db()->DropColumnFamily(it->second), "drop a family");
    Check(database_.db()->DestroyColumnFamilyHandle(it->second), "drop a family");
    database_.handles().erase(it);
  }

  Database& database_;
  const Flags& flags_;
  rocksdb::WriteOptions options_;
};

}  // namespace

int WriteCommand(const Flags& flags) {
  Database database(flags.positional.at(1), flags);
  Check(database.Open(false), "open");
  Writer writer(database, flags);
  Run run(flags);
  uint64_t row = database.LastRow();
  printf("open %llu\n", static_cast<unsigned long long>(row));
  fflush(stdout);
  // A pair of which only the first was committed is written again.
  if (flags.Has("2pc")) row -= row % 2;
  for (uint64_t written = 0; run.Goes(written); written += writer.Width()) {
    run.Pace(written);
    writer.Write(row + 1);
    row += writer.Width();
    if (!run.GroupIsFull(written / writer.Width() + 1)) continue;
    writer.Settle(row);
    if (!writer.Durable(row)) continue;
    if (!run.Acknowledge(row, database.db()->GetLatestSequenceNumber())) return 75;
  }
  if (flags.Has("crash")) {
    fflush(stdout);
    _exit(0);
  }
  if (flags.Has("disable-wal")) writer.Flush();
  writer.Settle(row);
  return run.Acknowledge(row, database.db()->GetLatestSequenceNumber()) ? 0 : 75;
}
