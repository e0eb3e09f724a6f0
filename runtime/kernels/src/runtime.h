// ONNX Runtime's C API as the operators see it: typed calls, errors as exceptions.
#pragma once

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "ort_api.h"

namespace hazgate {

// Anything that an operator refuses; ONNX Runtime's own failures are one, too.
struct OpError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A tensor of which nothing is owned; `data` is null where an optional one is missing.
struct Tensor {
  void* data = nullptr;
  std::vector<int64_t> shape;

  explicit operator bool() const { return data != nullptr; }
  int64_t size() const {
    int64_t n = 1;
    for (int64_t d : shape) n *= d;
    return n;
  }
  // Product of all but the last dimension.
  int64_t rows() const { return shape.empty() ? 1 : shape.back() == 0 ? 0 : size() / shape.back(); }
  int64_t width() const { return shape.empty() ? 1 : shape.back(); }
  const float* floats() const { return static_cast<const float*>(data); }
  float* mutable_floats() const { return static_cast<float*>(data); }
};

class Runtime {
 public:
  explicit Runtime(ort::Api* api) : api_(api) {}

  ort::Status* Error(const std::string& message) const;

  // Of a kernel that is made.
  float FloatAttribute(const ort::KernelInfo* info, const char* name) const;
  int64_t IntAttribute(const ort::KernelInfo* info, const char* name) const;
  // An input that must be a constant of that type; missing ones have no data.
  Tensor Constant(const ort::KernelInfo* info, size_t index, ort::ElementType type,
                  const char* name) const;

  // Of a kernel that runs.
  Tensor Input(const ort::KernelContext* context, size_t index, ort::ElementType type,
               const char* name) const;
  Tensor Output(ort::KernelContext* context, size_t index, const std::vector<int64_t>& shape) const;
  // Runs `task(0)` to `task(n - 1)` on the session's threads; none of them may throw.
  void ParallelFor(const ort::KernelContext* context, size_t n,
                   const std::function<void(size_t)>& task) const;

  void Register(ort::SessionOptions* options, ort::CustomOpDomain* domain) const;
  ort::CustomOpDomain* Domain(const char* name, const std::vector<const ort::CustomOp*>& ops) const;

 private:
  friend class Scratch;
  template <typename... Arguments>
  void Call(ort::Slot slot, Arguments... arguments) const {
    using Function = ort::Status* (*)(Arguments...);
    Check(reinterpret_cast<Function>(api_[slot])(arguments...));
  }
  template <typename Result, typename... Arguments>
  Result Plain(ort::Slot slot, Arguments... arguments) const {
    using Function = Result (*)(Arguments...);
    return reinterpret_cast<Function>(api_[slot])(arguments...);
  }
  void Check(ort::Status* status) const;
  Tensor Read(const ort::Value* value, ort::ElementType type, const char* name) const;

  ort::Api* api_;
};

// Memory of ONNX Runtime's arena for one run, aligned to 64 bytes. Safe to make in any thread.
class Scratch {
 public:
  Scratch(const Runtime& runtime, const ort::KernelContext* context);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  void* Bytes(size_t n);
  float* Floats(size_t n) { return static_cast<float*>(Bytes(n * sizeof(float))); }

 private:
  const Runtime& runtime_;
  ort::Allocator* allocator_ = nullptr;
  std::vector<void*> held_;
};

}  // namespace hazgate
