// The hardest real master: DIR/journal (WAL on) comes first, DIR/state (WAL off) is applied from it, flushed now and then, checkpointed to
// DIR/checkpoints/ck-<row>, which the journal names; then the journal is trimmed up to that row.
#include <rocksdb/utilities/checkpoint.h>
#include <sys/stat.h>

#include <filesystem>

#include "commands.h"
#include "database.h"
#include "report.h"
#include "run.h"

namespace {

namespace fs = std::filesystem;

std::unique_ptr<rocksdb::DB> OpenPlain(const std::string& path, const Flags& flags, bool read_only, rocksdb::Status* status) {
  rocksdb::DB* db = nullptr;
  rocksdb::Options options = DatabaseOptions(flags);
  *status = read_only ? rocksdb::DB::OpenForReadOnly(options, path, &db) : rocksdb::DB::Open(options, path, &db);
  return std::unique_ptr<rocksdb::DB>(db);
}

uint64_t NumberAt(rocksdb::DB* db, const char* key) {
  std::string value;
  return db->Get(rocksdb::ReadOptions(), key, &value).ok() ? strtoull(value.c_str(), nullptr, 10) : 0;
}

uint64_t LastOf(rocksdb::DB* db, char prefix) {
  std::unique_ptr<rocksdb::Iterator> it(db->NewIterator(rocksdb::ReadOptions()));
  it->SeekForPrev(Key(prefix, 999999999999ULL));
  return it->Valid() && it->key()[0] == prefix ? strtoull(it->key().data() + 1, nullptr, 10) : 0;
}

class JournaledMaster {
 public:
  JournaledMaster(const std::string& base, const Flags& flags) : base_(base), flags_(flags) {
    fs::create_directories(base + "/checkpoints");
    rocksdb::Status status;
    journal_ = OpenPlain(base + "/journal", flags, false, &status);
    Check(status, "open the journal");
    state_ = OpenPlain(base + "/state", flags, false, &status);
    Check(status, "open the state");
    row_ = std::max(LastOf(journal_.get(), 'j'), NumberAt(journal_.get(), "trimmed"));
    uint64_t applied = NumberAt(state_.get(), "applied");
    if (applied < NumberAt(journal_.get(), "trimmed")) {
      fprintf(stderr, "the state ends at row %llu, but the journal is trimmed up to %llu\n", static_cast<unsigned long long>(applied),
              static_cast<unsigned long long>(NumberAt(journal_.get(), "trimmed")));
      exit(70);
    }
    while (applied < row_) Apply(++applied);
  }

  uint64_t row() const { return row_; }
  uint64_t sequence() const { return journal_->GetLatestSequenceNumber(); }

  void Write() {
    row_++;
    rocksdb::WriteOptions options;
    options.sync = flags_.Has("sync");
    Check(journal_->Put(options, Key('j', row_), Value(row_, 200)), "write to the journal");
    Apply(row_);
    if (row_ % flags_.Number("flush", 200) == 0) Checkpoint();
  }

 private:
  void Apply(uint64_t row) {
    rocksdb::WriteOptions options;
    options.disableWAL = true;
    rocksdb::WriteBatch batch;
    Check(batch.Put(Key('r', row), Value(row, 200)), "put");
    Check(batch.Put("applied", std::to_string(row)), "put");
    Check(state_->Write(options, &batch), "write to the state");
  }

  void Checkpoint() {
    Check(state_->Flush(rocksdb::FlushOptions()), "flush the state");
    const std::string name = "ck-" + std::to_string(row_);
    const std::string path = base_ + "/checkpoints/" + name;
    const std::string temporary = base_ + "/checkpoints/tmp-" + name;
    fs::remove_all(temporary);
    if (!fs::exists(path)) {
      rocksdb::Checkpoint* raw = nullptr;
      Check(rocksdb::Checkpoint::Create(state_.get(), &raw), "checkpoint");
      std::unique_ptr<rocksdb::Checkpoint> checkpoint(raw);
      Check(checkpoint->CreateCheckpoint(temporary), "checkpoint");
      fs::rename(temporary, path);
    }
    rocksdb::WriteOptions options;
    options.sync = flags_.Has("sync");
    rocksdb::WriteBatch batch;
    Check(batch.Put("checkpoint", name), "put");
    Check(batch.Put("trimmed", std::to_string(row_)), "put");
    Check(batch.DeleteRange(Key('j', 0), Key('j', row_ + 1)), "trim");
    Check(journal_->Write(options, &batch), "write to the journal");
    for (const auto& entry : fs::directory_iterator(base_ + "/checkpoints")) {
      const std::string other = entry.path().filename();
      const uint64_t number = other.rfind("ck-", 0) == 0 ? strtoull(other.c_str() + 3, nullptr, 10) : 0;
      if (number < row_) fs::remove_all(entry.path());
    }
  }

  const std::string base_;
  const Flags& flags_;
  uint64_t row_ = 0;
  std::unique_ptr<rocksdb::DB> journal_;
  std::unique_ptr<rocksdb::DB> state_;
};

// Rows [1, applied] with right values; how many.
uint64_t CheckState(rocksdb::DB* db, const std::string& what, Report* report) {
  const uint64_t applied = NumberAt(db, "applied");
  uint64_t expected = 1;
  std::unique_ptr<rocksdb::Iterator> it(db->NewIterator(rocksdb::ReadOptions()));
  for (it->Seek("r"); it->Valid() && it->key()[0] == 'r'; it->Next(), expected++) {
    const uint64_t row = strtoull(it->key().data() + 1, nullptr, 10);
    if (row != expected || !ValueIsRight(row, it->value().ToString())) {
      report->Problem(what + " has row " + std::to_string(row) + " where " + std::to_string(expected) + " should be");
      break;
    }
  }
  if (expected != applied + 1) report->Problem(what + " ends at row " + std::to_string(expected - 1) + ", and says " + std::to_string(applied));
  return applied;
}

}  // namespace

int JournalCommand(const Flags& flags) {
  JournaledMaster master(flags.positional.at(1), flags);
  Run run(flags);
  printf("open %llu\n", static_cast<unsigned long long>(master.row()));
  fflush(stdout);
  for (uint64_t written = 0; run.Goes(written); written++) {
    run.Pace(written);
    master.Write();
    if (run.GroupIsFull(written + 1) && !run.Acknowledge(master.row(), master.sequence())) return 75;
  }
  if (flags.Has("crash")) {
    fflush(stdout);
    _exit(0);
  }
  return run.Acknowledge(master.row(), master.sequence()) ? 0 : 75;
}

int VerifyJournalCommand(const Flags& flags) {
  Report report;
  const std::string base = flags.positional.at(1);
  rocksdb::Status status;
  std::unique_ptr<rocksdb::DB> journal = OpenPlain(base + "/journal", flags, true, &status);
  if (!status.ok()) report.Problem("the journal does not open: " + status.ToString());
  std::unique_ptr<rocksdb::DB> state = OpenPlain(base + "/state", flags, true, &status);
  if (!status.ok()) report.Problem("the state does not open: " + status.ToString());
  if (!report.problems.empty()) return report.Print();
  const uint64_t trimmed = NumberAt(journal.get(), "trimmed");
  uint64_t expected = trimmed + 1;
  std::unique_ptr<rocksdb::Iterator> it(journal->NewIterator(rocksdb::ReadOptions()));
  for (it->Seek("j"); it->Valid() && it->key()[0] == 'j'; it->Next(), expected++) {
    const uint64_t row = strtoull(it->key().data() + 1, nullptr, 10);
    if (row != expected || !ValueIsRight(row, it->value().ToString())) {
      report.Problem("the journal has row " + std::to_string(row) + " where " + std::to_string(expected) + " should be");
      break;
    }
  }
  report.rows = expected - 1;
  report.sequence = journal->GetLatestSequenceNumber();
  const uint64_t applied = CheckState(state.get(), "the state", &report);
  if (applied < trimmed) report.Problem("the journal is trimmed up to " + std::to_string(trimmed) + ", the state ends at " + std::to_string(applied));
  if (applied > report.rows) report.Problem("the state is ahead of the journal: " + std::to_string(applied) + " and " + std::to_string(report.rows));
  std::string name;
  if (journal->Get(rocksdb::ReadOptions(), "checkpoint", &name).ok()) {
    std::unique_ptr<rocksdb::DB> checkpoint = OpenPlain(base + "/checkpoints/" + name, flags, true, &status);
    if (!status.ok()) {
      report.Problem("the checkpoint " + name + " that the journal names does not open: " + status.ToString());
    } else if (CheckState(checkpoint.get(), "the checkpoint " + name, &report) != trimmed) {
      report.Problem("the checkpoint " + name + " is not of row " + std::to_string(trimmed));
    }
  }
  if (report.rows < flags.Number("to", 0)) report.Problem("rows after " + std::to_string(report.rows) + " are missing, up to " + flags.Text("to"));
  return report.Print(",\"trimmed\":" + std::to_string(trimmed));
}
