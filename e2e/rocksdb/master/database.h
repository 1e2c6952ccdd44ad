// One database with the features that the flags turn on; opened again it goes on where it ended.
#pragma once
#include <rocksdb/db.h>
#include <rocksdb/sst_file_writer.h>
#include <rocksdb/utilities/transaction_db.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "rows.h"

// Row r is in family r % families, under the key r<r>. Further keys, each tied to a row: t<r> (soon range-deleted), and families x<r> (added, dropped).
class Database {
 public:
  Database(const std::string& path, const Flags& flags) : path_(path), flags_(flags) {}

  // Read-only sees what a recovery would give without writing.
  rocksdb::Status Open(bool read_only) {
    rocksdb::Options options = DatabaseOptions(flags_);
    std::vector<std::string> names;
    const rocksdb::Status listed = rocksdb::DB::ListColumnFamilies(options, path_, &names);
    if (!listed.ok()) {
      if (read_only) return listed;
      names = {"default"};
    }
    const size_t wanted = flags_.Number("cfs", 1);
    if (!read_only) {
      for (size_t i = 1; i < wanted; i++) {
        const std::string name = "f" + std::to_string(i);
        if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
      }
    }
    std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
    for (const std::string& name : names) descriptors.emplace_back(name, options);
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    rocksdb::Status status;
    if (read_only) {
      rocksdb::DB* db = nullptr;
      status = rocksdb::DB::OpenForReadOnly(options, path_, descriptors, &handles, &db);
      db_.reset(db);
    } else if (flags_.Has("2pc")) {
      status = rocksdb::TransactionDB::Open(options, rocksdb::TransactionDBOptions(), path_, descriptors, &handles, &transactions_);
      db_.reset(transactions_);
    } else {
      rocksdb::DB* db = nullptr;
      status = rocksdb::DB::Open(options, path_, descriptors, &handles, &db);
      db_.reset(db);
    }
    for (auto* handle : handles) handles_[handle->GetName()] = handle;
    return status;
  }

  ~Database() {
    if (db_ == nullptr) return;
    for (auto& [name, handle] : handles_) db_->DestroyColumnFamilyHandle(handle);
    if (transactions_ == nullptr) db_->Close().PermitUncheckedError();
  }

  rocksdb::DB* db() { return db_.get(); }
  rocksdb::TransactionDB* transactions() { return transactions_; }
  const std::string& path() const { return path_; }
  std::map<std::string, rocksdb::ColumnFamilyHandle*>& handles() { return handles_; }

  rocksdb::ColumnFamilyHandle* Family(uint64_t row) {
    const uint64_t index = row % flags_.Number("cfs", 1);
    return handles_.at(index == 0 ? "default" : "f" + std::to_string(index));
  }

  // The largest row of any family.
  uint64_t LastRow() {
    uint64_t last = 0;
    for (auto& [name, handle] : handles_) {
      if (name[0] == 'x') continue;
      std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(rocksdb::ReadOptions(), handle));
      it->SeekForPrev(Key('r', 999999999999ULL));
      if (it->Valid() && it->key()[0] == 'r') last = std::max<uint64_t>(last, strtoull(it->key().data() + 1, nullptr, 10));
    }
    return last;
  }

  std::vector<rocksdb::ColumnFamilyHandle*> AllHandles() {
    std::vector<rocksdb::ColumnFamilyHandle*> all;
    for (auto& [name, handle] : handles_) all.push_back(handle);
    return all;
  }

 private:
  const std::string path_;
  const Flags& flags_;
  std::map<std::string, rocksdb::ColumnFamilyHandle*> handles_;
  rocksdb::TransactionDB* transactions_ = nullptr;
  std::unique_ptr<rocksdb::DB> db_;
};
