// A master with many threads, each of which writes a row and asks for a barrier before it would acknowledge it. Prints how long each barrier took.
//   callers --db=DIR --orders=DIR
// An order is a file `N.order` with "CALLERS ROWS" in the orders' directory; the answer is `N.times`, microseconds of each barrier, one a line.
#include <rocksdb/db.h>

#include <chrono>
#include <fstream>
#include <mutex>
#include <thread>

#include "../../e2e/rocksdb/master/flags.h"
#include "../../e2e/rocksdb/master/network.h"

using Clock = std::chrono::steady_clock;

static std::vector<int64_t> Run(rocksdb::DB* db, const std::string& url, int order, int callers, int rows) {
  std::atomic<int> next{0};
  std::mutex mutex;
  std::vector<int64_t> times;
  std::vector<std::thread> threads;
  for (int caller = 0; caller < callers; caller++) {
    threads.emplace_back([&] {
      Barrier barrier(url);
      std::vector<int64_t> own;
      std::string answer;
      for (int row = next++; row < rows; row = next++) {
        const std::string key = std::to_string(order) + "-" + std::to_string(row);
        const rocksdb::Status status = db->Put(rocksdb::WriteOptions(), key, std::string(100, 'x'));
        const auto start = Clock::now();
        if (!status.ok() || !barrier.Wait(&answer)) {
          fprintf(stderr, "row %s: %s, barrier: %s\n", key.c_str(), status.ToString().c_str(), answer.c_str());
          exit(1);
        }
        own.push_back(std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start).count());
      }
      const std::lock_guard<std::mutex> lock(mutex);
      times.insert(times.end(), own.begin(), own.end());
    });
  }
  for (std::thread& thread : threads) thread.join();
  return times;
}

int main(int argc, char** argv) {
  const Flags flags = Flags::Parse(argc, argv, {"db", "orders"});
  const char* url = getenv("METAMASTER_URL");
  if (url == nullptr || !flags.Has("db") || !flags.Has("orders")) {
    fprintf(stderr, "usage: METAMASTER_URL=... callers --db=DIR --orders=DIR\n");
    return 64;
  }
  rocksdb::Options options;
  options.create_if_missing = true;
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(options, flags.Text("db"), &db);
  if (!status.ok()) {
    fprintf(stderr, "%s\n", status.ToString().c_str());
    return 1;
  }
  for (int order = 0;; order++) {
    const std::string name = flags.Text("orders") + "/" + std::to_string(order);
    int callers = 0;
    int rows = 0;
    while (!(std::ifstream(name + ".order") >> callers >> rows)) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::ofstream out(name + ".part");
    for (const int64_t time : Run(db, std::string(url) + "/v1/barrier", order, callers, rows)) out << time << "\n";
    out.close();
    rename((name + ".part").c_str(), (name + ".times").c_str());
  }
}
