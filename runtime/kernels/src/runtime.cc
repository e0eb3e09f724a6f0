#include "runtime.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace hazgate {

namespace {

// Stands for the data of an empty tensor, which has none; never read.
char g_no_data;

}  // namespace

OrtStatus* Runtime::Error(const char* message) const noexcept {
  return api_->CreateStatus(ORT_INVALID_ARGUMENT, message);
}

void Runtime::Check(OrtStatus* status) const {
  if (status == nullptr) return;
  const std::string message = api_->GetErrorMessage(status);
  api_->ReleaseStatus(status);
  throw OpError(message);
}

float Runtime::FloatAttribute(const OrtKernelInfo* info, const char* name) const {
  float value = 0;
  Check(api_->KernelInfoGetAttribute_float(info, name, &value));
  return value;
}

int64_t Runtime::IntAttribute(const OrtKernelInfo* info, const char* name) const {
  int64_t value = 0;
  Check(api_->KernelInfoGetAttribute_int64(info, name, &value));
  return value;
}

Tensor Runtime::Constant(const OrtKernelInfo* info, size_t index, ONNXTensorElementDataType type,
                         const char* name) const {
  size_t n = 0;
  Check(api_->KernelInfo_GetInputCount(info, &n));
  if (index >= n) return {};
  int is_constant = 0;
  const OrtValue* value = nullptr;
  Check(api_->KernelInfoGetConstantInput_tensor(info, index, &is_constant, &value));
  if (is_constant && value) return Read(value, type, name);
  // An input that is left out has an empty name, whose size is that of its final zero.
  size_t name_size = 0;
  Check(api_->KernelInfo_GetInputName(info, index, nullptr, &name_size));
  if (name_size > 1) throw OpError(std::string(name) + " must be a constant");
  return {};
}

Tensor Runtime::Input(const OrtKernelContext* context, size_t index, ONNXTensorElementDataType type,
                      const char* name) const {
  size_t n = 0;
  Check(api_->KernelContext_GetInputCount(context, &n));
  if (index >= n) return {};
  const OrtValue* value = nullptr;
  Check(api_->KernelContext_GetInput(context, index, &value));
  return value ? Read(value, type, name) : Tensor{};
}

Tensor Runtime::Output(OrtKernelContext* context, size_t index,
                       const std::vector<int64_t>& shape) const {
  size_t n = 0;
  Check(api_->KernelContext_GetOutputCount(context, &n));
  if (index >= n) return {};
  OrtValue* value = nullptr;
  Check(api_->KernelContext_GetOutput(context, index, shape.data(), shape.size(), &value));
  Tensor tensor;
  if (value == nullptr) return tensor;
  Check(api_->GetTensorMutableData(value, &tensor.data));
  if (tensor.data == nullptr) tensor.data = &g_no_data;
  tensor.shape = shape;
  return tensor;
}

Tensor Runtime::Read(const OrtValue* value, ONNXTensorElementDataType type,
                     const char* name) const {
  OrtTensorTypeAndShapeInfo* shape = nullptr;
  Check(api_->GetTensorTypeAndShape(value, &shape));
  struct Release {
    const Runtime& runtime;
    OrtTensorTypeAndShapeInfo* shape;
    ~Release() { runtime.api_->ReleaseTensorTypeAndShapeInfo(shape); }
  } release{*this, shape};
  ONNXTensorElementDataType found{};
  Check(api_->GetTensorElementType(shape, &found));
  if (found != type) {
    throw OpError(std::string(name) + ": expected element type " + std::to_string(type) + ", got " +
                  std::to_string(found));
  }
  size_t rank = 0;
  Check(api_->GetDimensionsCount(shape, &rank));
  Tensor tensor;
  tensor.shape.resize(rank);
  Check(api_->GetDimensions(shape, tensor.shape.data(), rank));
  Check(api_->GetTensorMutableData(const_cast<OrtValue*>(value), &tensor.data));
  // An empty tensor may have no data; it is still not a missing one.
  if (tensor.data == nullptr) tensor.data = &g_no_data;
  return tensor;
}

void Runtime::ParallelFor(const OrtKernelContext* context, size_t n,
                          const std::function<void(size_t)>& task) const {
  if (n == 0) return;
  if (n == 1) return task(0);
  void (*run)(void*, size_t) = [](void* state, size_t i) {
    (*static_cast<const std::function<void(size_t)>*>(state))(i);
  };
  // Hand out one task at a time: the next free thread takes it.
  constexpr size_t kNoBatches = 0;
  Check(api_->KernelContext_ParallelFor(context, run, n, kNoBatches,
                                        const_cast<void*>(static_cast<const void*>(&task))));
}

OrtCustomOpDomain* Runtime::Domain(const char* name,
                                   const std::vector<const OrtCustomOp*>& ops) const {
  OrtCustomOpDomain* domain = nullptr;
  Check(api_->CreateCustomOpDomain(name, &domain));
  for (const OrtCustomOp* op : ops) Check(api_->CustomOpDomain_Add(domain, op));
  return domain;
}

void Runtime::Register(OrtSessionOptions* options, OrtCustomOpDomain* domain) const {
  Check(api_->AddCustomOpDomain(options, domain));
}

Scratch::Scratch(const Runtime& runtime, const OrtKernelContext* context) : runtime_(runtime) {
  OrtMemoryInfo* memory = nullptr;
  runtime.Check(runtime.api_->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
  try {
    runtime.Check(runtime.api_->KernelContext_GetAllocator(context, memory, &allocator_));
  } catch (...) {
    runtime.api_->ReleaseMemoryInfo(memory);
    throw;
  }
  runtime.api_->ReleaseMemoryInfo(memory);
}

Scratch::~Scratch() {
  for (const Held& held : held_) {
#if defined(__SANITIZE_ADDRESS__)
    ASAN_UNPOISON_MEMORY_REGION(held.memory, held.size);
#endif
    // A destructor cannot throw, and a failure here is one of the arena itself.
    if (auto* status = runtime_.api_->AllocatorFree(allocator_, held.memory)) {
      runtime_.api_->ReleaseStatus(status);
    }
  }
  runtime_.api_->ReleaseAllocator(allocator_);
}

void* Scratch::Bytes(int64_t n) {
  constexpr size_t kAlignment = 64;
  // A model's shapes decide on `n`: no sum of sizes below may overflow.
  if (n < 0 || n > INT64_MAX / 2) throw OpError("out of memory");
  const size_t size = static_cast<size_t>(n) + kAlignment;
  held_.reserve(held_.size() + 1);
  void* memory = nullptr;
  runtime_.Check(runtime_.api_->AllocatorAlloc(allocator_, size, &memory));
  if (memory == nullptr) throw OpError("out of memory");
  held_.push_back({memory, size});
  auto* aligned = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(memory) + kAlignment - 1) /
                                          kAlignment * kAlignment);
#if defined(__SANITIZE_ADDRESS__)
  // The sanitizer then sees a write behind what was asked for, too.
  ASAN_POISON_MEMORY_REGION(aligned + n, static_cast<char*>(memory) + size - (aligned + n));
#endif
  return aligned;
}

}  // namespace hazgate
