#include "runtime.h"

namespace hazgate {

using ort::Slot;

ort::Status* Runtime::Error(const std::string& message) const {
  return Plain<ort::Status*>(Slot::kCreateStatus, ort::kInvalidArgument, message.c_str());
}

void Runtime::Check(ort::Status* status) const {
  if (status == nullptr) return;
  const std::string message =
      Plain<const char*>(Slot::kGetErrorMessage, static_cast<const ort::Status*>(status));
  Plain<void>(Slot::kReleaseStatus, status);
  throw OpError(message);
}

float Runtime::FloatAttribute(const ort::KernelInfo* info, const char* name) const {
  float value = 0;
  Call(Slot::kKernelInfoGetAttributeFloat, info, name, &value);
  return value;
}

int64_t Runtime::IntAttribute(const ort::KernelInfo* info, const char* name) const {
  int64_t value = 0;
  Call(Slot::kKernelInfoGetAttributeInt64, info, name, &value);
  return value;
}

Tensor Runtime::Constant(const ort::KernelInfo* info, size_t index, ort::ElementType type,
                         const char* name) const {
  size_t n = 0;
  Call(Slot::kKernelInfoGetInputCount, info, &n);
  if (index >= n) return {};
  int is_constant = 0;
  const ort::Value* value = nullptr;
  Call(Slot::kKernelInfoGetConstantInput, info, index, &is_constant, &value);
  return is_constant && value ? Read(value, type, name) : Tensor{};
}

Tensor Runtime::Input(const ort::KernelContext* context, size_t index, ort::ElementType type,
                      const char* name) const {
  size_t n = 0;
  Call(Slot::kKernelContextGetInputCount, context, &n);
  if (index >= n) return {};
  const ort::Value* value = nullptr;
  Call(Slot::kKernelContextGetInput, context, index, &value);
  return value ? Read(value, type, name) : Tensor{};
}

Tensor Runtime::Output(ort::KernelContext* context, size_t index,
                       const std::vector<int64_t>& shape) const {
  size_t n = 0;
  Call(Slot::kKernelContextGetOutputCount, static_cast<const ort::KernelContext*>(context), &n);
  if (index >= n) return {};
  ort::Value* value = nullptr;
  Call(Slot::kKernelContextGetOutput, context, index, shape.data(), shape.size(), &value);
  Tensor tensor;
  if (value == nullptr) return tensor;
  Call(Slot::kGetTensorMutableData, value, &tensor.data);
  tensor.shape = shape;
  return tensor;
}

Tensor Runtime::Read(const ort::Value* value, ort::ElementType type, const char* name) const {
  ort::ShapeInfo* shape = nullptr;
  Call(Slot::kGetTensorTypeAndShape, value, &shape);
  struct Release {
    const Runtime& runtime;
    ort::ShapeInfo* shape;
    ~Release() { runtime.Plain<void>(Slot::kReleaseShapeInfo, shape); }
  } release{*this, shape};
  const ort::ShapeInfo* read = shape;
  ort::ElementType found{};
  Call(Slot::kGetTensorElementType, read, &found);
  if (found != type) {
    throw OpError(std::string(name) + ": expected element type " + std::to_string(type) + ", got " +
                  std::to_string(found));
  }
  size_t rank = 0;
  Call(Slot::kGetDimensionsCount, read, &rank);
  Tensor tensor;
  tensor.shape.resize(rank);
  Call(Slot::kGetDimensions, read, tensor.shape.data(), rank);
  Call(Slot::kGetTensorMutableData, const_cast<ort::Value*>(value), &tensor.data);
  // An empty tensor is there all the same.
  if (tensor.data == nullptr) tensor.data = &tensor.shape;
  return tensor;
}

void Runtime::ParallelFor(const ort::KernelContext* context, size_t n,
                          const std::function<void(size_t)>& task) const {
  if (n == 0) return;
  if (n == 1) return task(0);
  void (*run)(void*, size_t) = [](void* state, size_t i) {
    (*static_cast<const std::function<void(size_t)>*>(state))(i);
  };
  // One task at a time to whichever thread is free.
  constexpr size_t kNoBatches = 0;
  Call(Slot::kKernelContextParallelFor, context, run, n, kNoBatches,
       const_cast<void*>(static_cast<const void*>(&task)));
}

ort::CustomOpDomain* Runtime::Domain(const char* name,
                                     const std::vector<const ort::CustomOp*>& ops) const {
  ort::CustomOpDomain* domain = nullptr;
  Call(Slot::kCreateCustomOpDomain, name, &domain);
  for (const ort::CustomOp* op : ops) Call(Slot::kCustomOpDomainAdd, domain, op);
  return domain;
}

void Runtime::Register(ort::SessionOptions* options, ort::CustomOpDomain* domain) const {
  Call(Slot::kAddCustomOpDomain, options, domain);
}

Scratch::Scratch(const Runtime& runtime, const ort::KernelContext* context) : runtime_(runtime) {
  ort::MemoryInfo* memory = nullptr;
  runtime.Call(Slot::kCreateCpuMemoryInfo, ort::kArena, ort::kDefaultMemory, &memory);
  try {
    runtime.Call(Slot::kKernelContextGetAllocator, context,
                 static_cast<const ort::MemoryInfo*>(memory), &allocator_);
  } catch (...) {
    runtime.Plain<void>(Slot::kReleaseMemoryInfo, memory);
    throw;
  }
  runtime.Plain<void>(Slot::kReleaseMemoryInfo, memory);
}

Scratch::~Scratch() {
  for (void* memory : held_) {
    // A failure here would be the arena's own.
    if (auto* status = runtime_.Plain<ort::Status*>(Slot::kAllocatorFree, allocator_, memory)) {
      runtime_.Plain<void>(Slot::kReleaseStatus, status);
    }
  }
  runtime_.Plain<void>(Slot::kReleaseAllocator, allocator_);
}

void* Scratch::Bytes(size_t n) {
  constexpr size_t kAlignment = 64;
  void* memory = nullptr;
  runtime_.Call(Slot::kAllocatorAlloc, allocator_, n + kAlignment, &memory);
  if (memory == nullptr) throw OpError("out of memory");
  held_.push_back(memory);
  return reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(memory) + kAlignment - 1) /
                                 kAlignment * kAlignment);
}

}  // namespace hazgate
