// The few entries of ONNX Runtime's C API that are used here.
//
// ONNX Runtime publishes its header with its releases and in no package index. Its API is a table
// of function pointers that is only ever appended to, so an entry is known by its place; each
// stands here with the API version that it came in. ort_api_check.cc holds all of it against the
// official header when one is given (-DHAZGATE_ORT_INCLUDE=...). Source:
// include/onnxruntime/core/session/ onnxruntime_c_api.h of microsoft/onnxruntime.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hazgate::ort {

// Opaque to us.
struct Status;
struct Value;
struct ShapeInfo;
struct KernelInfo;
struct KernelContext;
struct SessionOptions;
struct CustomOpDomain;
struct MemoryInfo;
struct Allocator;

using Api = void* const;  // the table; an Api* is its first entry

struct ApiBase {
  Api* (*GetApi)(uint32_t version);  // null if the library is older
  const char* (*GetVersionString)();
};

// The newest entry that is used came in with this version: ONNX Runtime 1.17.
constexpr uint32_t kApiVersion = 17;

enum ErrorCode { kInvalidArgument = 2 };
enum ElementType { kFloat = 1, kInt8 = 3, kInt64 = 7 };
enum Characteristic { kRequired = 0, kOptional = 1 };
enum MemoryType { kDefaultMemory = 0 };
enum AllocatorType { kArena = 1 };

// Places in the table.
enum Slot : size_t {
  kCreateStatus = 0,                  // 1
  kGetErrorMessage = 2,               // 1
  kCreateCustomOpDomain = 26,         // 1
  kCustomOpDomainAdd = 27,            // 1
  kAddCustomOpDomain = 28,            // 1
  kGetTensorMutableData = 51,         // 1
  kGetTensorElementType = 60,         // 1
  kGetDimensionsCount = 61,           // 1
  kGetDimensions = 62,                // 1
  kGetTensorTypeAndShape = 65,        // 1
  kCreateCpuMemoryInfo = 69,          // 1
  kAllocatorAlloc = 75,               // 1
  kAllocatorFree = 76,                // 1
  kKernelInfoGetAttributeFloat = 85,  // 1
  kKernelInfoGetAttributeInt64 = 86,  // 1
  kKernelContextGetInputCount = 88,   // 1
  kKernelContextGetOutputCount = 89,  // 1
  kKernelContextGetInput = 90,        // 1
  kKernelContextGetOutput = 91,       // 1
  kReleaseStatus = 93,                // 1
  kReleaseMemoryInfo = 94,            // 1
  kReleaseShapeInfo = 99,             // 1
  kReleaseAllocator = 132,            // 5
  kKernelInfoGetInputCount = 230,     // 14
  kKernelInfoGetConstantInput = 249,  // 15
  kKernelContextGetAllocator = 253,   // 15
  kKernelContextParallelFor = 274,    // 17
};

// What an operator tells ONNX Runtime of itself; the fields of version 17, in their order.
struct CustomOp {
  uint32_t version;
  void* (*CreateKernel)(const CustomOp*, Api*, const KernelInfo*);
  const char* (*GetName)(const CustomOp*);
  const char* (*GetExecutionProviderType)(const CustomOp*);
  ElementType (*GetInputType)(const CustomOp*, size_t);
  size_t (*GetInputTypeCount)(const CustomOp*);
  ElementType (*GetOutputType)(const CustomOp*, size_t);
  size_t (*GetOutputTypeCount)(const CustomOp*);
  void (*KernelCompute)(void*, KernelContext*);
  void (*KernelDestroy)(void*);
  Characteristic (*GetInputCharacteristic)(const CustomOp*, size_t);
  Characteristic (*GetOutputCharacteristic)(const CustomOp*, size_t);
  MemoryType (*GetInputMemoryType)(const CustomOp*, size_t);
  int (*GetVariadicInputMinArity)(const CustomOp*);
  int (*GetVariadicInputHomogeneity)(const CustomOp*);
  int (*GetVariadicOutputMinArity)(const CustomOp*);
  int (*GetVariadicOutputHomogeneity)(const CustomOp*);
  Status* (*CreateKernelV2)(const CustomOp*, Api*, const KernelInfo*, void**);
  Status* (*KernelComputeV2)(void*, KernelContext*);
  Status* (*InferOutputShape)(const CustomOp*, void*);
  int (*GetStartVersion)(const CustomOp*);
  int (*GetEndVersion)(const CustomOp*);
};

}  // namespace hazgate::ort
