// Compiled only against ONNX Runtime's own header: every place in ort_api.h is the right one.
#include <onnxruntime_c_api.h>

#include "ort_api.h"

namespace hazgate::ort {

#define HAZGATE_SLOT(slot, member) \
  static_assert(offsetof(OrtApi, member) == (slot) * sizeof(void*), #member " has moved")

HAZGATE_SLOT(kCreateStatus, CreateStatus);
HAZGATE_SLOT(kGetErrorMessage, GetErrorMessage);
HAZGATE_SLOT(kCreateCustomOpDomain, CreateCustomOpDomain);
HAZGATE_SLOT(kCustomOpDomainAdd, CustomOpDomain_Add);
HAZGATE_SLOT(kAddCustomOpDomain, AddCustomOpDomain);
HAZGATE_SLOT(kGetTensorMutableData, GetTensorMutableData);
HAZGATE_SLOT(kGetTensorElementType, GetTensorElementType);
HAZGATE_SLOT(kGetDimensionsCount, GetDimensionsCount);
HAZGATE_SLOT(kGetDimensions, GetDimensions);
HAZGATE_SLOT(kGetTensorTypeAndShape, GetTensorTypeAndShape);
HAZGATE_SLOT(kCreateCpuMemoryInfo, CreateCpuMemoryInfo);
HAZGATE_SLOT(kAllocatorAlloc, AllocatorAlloc);
HAZGATE_SLOT(kAllocatorFree, AllocatorFree);
HAZGATE_SLOT(kKernelInfoGetAttributeFloat, KernelInfoGetAttribute_float);
HAZGATE_SLOT(kKernelInfoGetAttributeInt64, KernelInfoGetAttribute_int64);
HAZGATE_SLOT(kKernelContextGetInputCount, KernelContext_GetInputCount);
HAZGATE_SLOT(kKernelContextGetOutputCount, KernelContext_GetOutputCount);
HAZGATE_SLOT(kKernelContextGetInput, KernelContext_GetInput);
HAZGATE_SLOT(kKernelContextGetOutput, KernelContext_GetOutput);
HAZGATE_SLOT(kReleaseStatus, ReleaseStatus);
HAZGATE_SLOT(kReleaseMemoryInfo, ReleaseMemoryInfo);
HAZGATE_SLOT(kReleaseShapeInfo, ReleaseTensorTypeAndShapeInfo);
HAZGATE_SLOT(kReleaseAllocator, ReleaseAllocator);
HAZGATE_SLOT(kKernelInfoGetInputCount, KernelInfo_GetInputCount);
HAZGATE_SLOT(kKernelInfoGetConstantInput, KernelInfoGetConstantInput_tensor);
HAZGATE_SLOT(kKernelContextGetAllocator, KernelContext_GetAllocator);
HAZGATE_SLOT(kKernelContextParallelFor, KernelContext_ParallelFor);

static_assert(offsetof(OrtCustomOp, GetEndVersion) == offsetof(CustomOp, GetEndVersion));
static_assert(offsetof(OrtCustomOp, KernelComputeV2) == offsetof(CustomOp, KernelComputeV2));
static_assert(kFloat == static_cast<int>(ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT));
static_assert(kInt8 == static_cast<int>(ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8));
static_assert(kInt64 == static_cast<int>(ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64));
static_assert(kOptional == static_cast<int>(INPUT_OUTPUT_OPTIONAL));
static_assert(kArena == static_cast<int>(OrtArenaAllocator));

}  // namespace hazgate::ort
