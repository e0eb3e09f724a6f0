// ONNX Runtime's C API for the operators: its tensors, its threads, its errors as exceptions.
#pragma once

#include <onnxruntime_c_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace hazgate {

// Version 17 of the table is that of ONNX Runtime 1.17. The header is newer: use no entry that it
// marks with a later version, or the library crashes in the releases in between.
constexpr uint32_t kApiVersion = 17;

constexpr ONNXTensorElementDataType kFloat = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
constexpr ONNXTensorElementDataType kInt8 = ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8;
constexpr ONNXTensorElementDataType kInt64 = ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;

// An operator's refusal, or a failure that ONNX Runtime reported.
struct OpError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Multiply sizes from a model. Throw if one is negative or the product overflows.
inline int64_t Times(int64_t a, int64_t b) {
  int64_t product = 0;
  if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &product)) {
    throw OpError("a shape is negative or too large");
  }
  return product;
}

// A tensor that ONNX Runtime owns; `data` is null if an optional one is missing.
struct Tensor {
  void* data = nullptr;
  std::vector<int64_t> shape;

  explicit operator bool() const { return data != nullptr; }
  // Number of values. Dimensions come from a model, so their product may overflow.
  int64_t size() const {
    int64_t n = 1;
    for (int64_t d : shape) n = Times(n, d);
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
  explicit Runtime(const OrtApi* api) : api_(api) {}

  // Takes no std::string: making one may throw, and ONNX Runtime calls from C.
  OrtStatus* Error(const char* message) const noexcept;

  // For constructors of kernels.
  float FloatAttribute(const OrtKernelInfo* info, const char* name) const;
  int64_t IntAttribute(const OrtKernelInfo* info, const char* name) const;
  // Return a constant input of that type; a missing one has no data. Throw if it is there and not a
  // constant.
  Tensor Constant(const OrtKernelInfo* info, size_t index, ONNXTensorElementDataType type,
                  const char* name) const;

  // For kernels that run.
  Tensor Input(const OrtKernelContext* context, size_t index, ONNXTensorElementDataType type,
               const char* name) const;
  Tensor Output(OrtKernelContext* context, size_t index, const std::vector<int64_t>& shape) const;
  // Run `task(0)` to `task(n - 1)` on the session's threads; no task may throw.
  void ParallelFor(const OrtKernelContext* context, size_t n,
                   const std::function<void(size_t)>& task) const;

  void Register(OrtSessionOptions* options, OrtCustomOpDomain* domain) const;
  OrtCustomOpDomain* Domain(const char* name, const std::vector<const OrtCustomOp*>& ops) const;

 private:
  friend class Scratch;
  void Check(OrtStatus* status) const;
  Tensor Read(const OrtValue* value, ONNXTensorElementDataType type, const char* name) const;

  const OrtApi* api_;
};

// Memory from ONNX Runtime's arena for one run, aligned to 64 bytes.
class Scratch {
 public:
  Scratch(const Runtime& runtime, const OrtKernelContext* context);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  void* Bytes(int64_t n);
  float* Floats(int64_t n) { return static_cast<float*>(Bytes(Times(n, sizeof(float)))); }

 private:
  const Runtime& runtime_;
  struct Held {
    void* memory;
    size_t size;
  };

  OrtAllocator* allocator_ = nullptr;
  std::vector<Held> held_;
};

}  // namespace hazgate
