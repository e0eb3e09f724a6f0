// Scratch buffers of one size that the threads of a run share: at most one per thread at a time.
#pragma once

#include <exception>
#include <mutex>
#include <vector>

#include "runtime.h"

namespace hazgate {

class Buffers {
 public:
  // Nobody else may use `scratch` while threads take buffers.
  Buffers(Scratch* scratch, int64_t floats) : scratch_(scratch), floats_(floats) {}

  // Return a free buffer, or null if memory ran out: a task must not throw.
  float* Take() noexcept {
    try {
      const std::lock_guard<std::mutex> hold(lock_);
      if (!free_.empty()) {
        float* buffer = free_.back();
        free_.pop_back();
        return buffer;
      }
      // Room for every buffer, so that giving one back needs no memory.
      free_.reserve(++n_buffers_);
      return scratch_->Floats(floats_);
    } catch (const std::exception&) {
      return nullptr;
    }
  }
  void Give(float* buffer) noexcept {
    const std::lock_guard<std::mutex> hold(lock_);
    free_.push_back(buffer);
  }

 private:
  std::mutex lock_;
  Scratch* scratch_;
  std::vector<float*> free_;
  size_t n_buffers_ = 0;
  int64_t floats_;
};

}  // namespace hazgate
