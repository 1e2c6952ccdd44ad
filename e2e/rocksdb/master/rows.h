// Numbered rows whose values prove themselves, and what every database of the test master has in common.
#pragma once
#include <rocksdb/db.h>
#include <rocksdb/merge_operator.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>

#include <memory>
#include <string>

#include "flags.h"

inline void Check(const rocksdb::Status& status, const char* what) {
  if (status.ok()) return;
  fprintf(stderr, "%s: %s\n", what, status.ToString().c_str());
  exit(70);
}

inline std::string Key(char prefix, uint64_t row) {
  char buffer[32];
  snprintf(buffer, sizeof(buffer), "%c%012llu", prefix, static_cast<unsigned long long>(row));
  return buffer;
}

inline uint64_t Mix(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdULL;
  x ^= x >> 33;
  return x;
}

// Row number, filler of a length that the row decides, and a hash over both.
inline std::string Value(uint64_t row, uint64_t bytes_max) {
  std::string value = std::to_string(row) + ":";
  const uint64_t length = bytes_max == 0 ? 0 : Mix(row) % bytes_max;
  uint64_t state = row;
  while (value.size() < length) {
    state = Mix(state + 1);
    value.push_back(static_cast<char>('a' + state % 26));
  }
  uint64_t hash = 1469598103934665603ULL;
  for (unsigned char c : value) hash = (hash ^ c) * 1099511628211ULL;
  char buffer[20];
  snprintf(buffer, sizeof(buffer), ":%016llx", static_cast<unsigned long long>(hash));
  return value + buffer;
}

inline bool ValueIsRight(uint64_t row, const std::string& value) {
  const std::string start = std::to_string(row) + ":";
  if (value.size() < start.size() + 17 || value.compare(0, start.size(), start) != 0) return false;
  uint64_t hash = 1469598103934665603ULL;
  for (size_t i = 0; i + 17 < value.size(); i++) hash = (hash ^ static_cast<unsigned char>(value[i])) * 1099511628211ULL;
  char buffer[20];
  snprintf(buffer, sizeof(buffer), ":%016llx", static_cast<unsigned long long>(hash));
  return value.compare(value.size() - 17, 17, buffer) == 0;
}

// The master's own operator: a copy can't be opened for writing by a tool that doesn't have it.
class Concatenate : public rocksdb::AssociativeMergeOperator {
 public:
  bool Merge(const rocksdb::Slice&, const rocksdb::Slice* existing, const rocksdb::Slice& value, std::string* result,
             rocksdb::Logger*) const override {
    *result = (existing == nullptr ? "" : existing->ToString()) + value.ToString();
    return true;
  }
  const char* Name() const override { return "metamaster.test.Concatenate"; }
};

inline rocksdb::Options DatabaseOptions(const Flags& flags) {
  rocksdb::Options options;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.merge_operator = std::make_shared<Concatenate>();
  options.write_buffer_size = flags.Number("write-buffer", 64 << 20);
  options.target_file_size_base = flags.Number("table-bytes", 2 << 20);
  options.max_manifest_file_size = flags.Number("max-manifest", 1 << 30);
  options.recycle_log_file_num = flags.Number("recycle", 0);
  options.atomic_flush = flags.Has("atomic-flush");
  options.manual_wal_flush = flags.Has("manual-wal-flush");
  options.wal_dir = flags.Text("wal-dir");
  // RocksDB turns recycling off in the other modes (db/db_impl/db_impl_open.cc, SanitizeOptions).
  if (options.recycle_log_file_num > 0) options.wal_recovery_mode = rocksdb::WALRecoveryMode::kSkipAnyCorruptedRecords;
  options.max_background_jobs = 2;
  if (flags.Has("wal-compression")) options.wal_compression = rocksdb::kZSTD;
  if (flags.Has("wal-ttl")) options.WAL_ttl_seconds = flags.Number("wal-ttl", 60);
  if (flags.Has("track-wals")) options.track_and_verify_wals_in_manifest = true;
  if (flags.Has("blob")) {
    options.enable_blob_files = true;
    options.min_blob_size = 32;
    options.blob_file_size = 1 << 20;
    options.enable_blob_garbage_collection = true;
  }
  if (flags.Has("absolute-consistency")) {
    options.wal_recovery_mode = rocksdb::WALRecoveryMode::kAbsoluteConsistency;
    options.recycle_log_file_num = 0;
  }
  return options;
}
