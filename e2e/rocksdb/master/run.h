// When to stop, how fast to go, and how acknowledgements are told.
#pragma once
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include "flags.h"
#include "network.h"

inline std::atomic<bool> stop_requested{false};

class Run {
 public:
  explicit Run(const Flags& flags)
      : rows_(flags.Number("rows", UINT64_MAX)), seconds_(flags.Number("seconds", 0)), rate_(flags.Number("rate", 0)),
        group_(flags.Number("group", 1)), started_(std::chrono::steady_clock::now()) {
    signal(SIGTERM, [](int) { stop_requested = true; });
    signal(SIGINT, [](int) { stop_requested = true; });
    if (flags.Has("until-stdin")) {
      std::thread([] {
        char buffer[256];
        while (read(0, buffer, sizeof(buffer)) > 0) {
        }
        stop_requested = true;
      }).detach();
    }
    if (flags.Has("barrier")) barrier_ = std::make_unique<Barrier>(flags.Text("barrier"));
    if (flags.Has("health")) ServeHealth(static_cast<int>(flags.Number("health", 0)), &acknowledged_);
  }

  bool Goes(uint64_t written) const {
    if (stop_requested || written >= rows_) return false;
    return seconds_ == 0 || Elapsed() < static_cast<double>(seconds_);
  }

  // Rows are acknowledged in groups of --group: a barrier each, if there is one.
  bool GroupIsFull(uint64_t written) const { return written % group_ == 0; }

  void Pace(uint64_t written) const {
    if (rate_ == 0) return;
    const double due = static_cast<double>(written) / static_cast<double>(rate_);
    const double ahead = due - Elapsed();
    if (ahead > 0) std::this_thread::sleep_for(std::chrono::duration<double>(std::min(ahead, 0.5)));
  }

  // False if the barrier refused: nothing up to `row` is acknowledged then, and the master should end.
  bool Acknowledge(uint64_t row, uint64_t sequence) {
    if (barrier_ != nullptr) {
      std::string answer;
      if (!barrier_->Wait(&answer)) {
        fprintf(stderr, "the barrier failed: %s\n", answer.c_str());
        return false;
      }
    }
    acknowledged_ = row;
    printf("ack %llu %llu\n", static_cast<unsigned long long>(row), static_cast<unsigned long long>(sequence));
    const auto now = std::chrono::steady_clock::now();
    if (barrier_ != nullptr || now - flushed_ > std::chrono::milliseconds(20)) {
      fflush(stdout);
      flushed_ = now;
    }
    return true;
  }

 private:
  double Elapsed() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count(); }

  const uint64_t rows_;
  const uint64_t seconds_;
  const uint64_t rate_;
  const uint64_t group_;
  const std::chrono::steady_clock::time_point started_;
  std::chrono::steady_clock::time_point flushed_{};
  std::atomic<uint64_t> acknowledged_{0};
  std::unique_ptr<Barrier> barrier_;
};
