// What ONNX Runtime asks of an operator, made from a kernel class and a description.
#pragma once

#include <atomic>
#include <cstdlib>
#include <exception>
#include <new>

#include "kernels.h"
#include "runtime.h"

namespace hazgate {

// The kernels of this process, chosen once: by HAZGATE_KERNELS_ISA where it is set.
inline const Kernels& TheKernels() {
  static const Kernels* const chosen = ChooseKernels(std::getenv("HAZGATE_KERNELS_ISA"));
  if (chosen == nullptr) {
    throw OpError("HAZGATE_KERNELS_ISA names an instruction set that this processor does not have");
  }
  return *chosen;
}

template <typename Kernel>
struct Instance {
  Runtime runtime;
  Kernel kernel;
  Instance(ort::Api* api, const ort::KernelInfo* info)
      : runtime(api), kernel(runtime, TheKernels(), info) {}
};

template <typename Kernel, typename Description>
const ort::CustomOp* DescribeOp() {
  static const ort::CustomOp op = [] {
    ort::CustomOp o{};
    o.version = ort::kApiVersion;
    o.GetName = [](const ort::CustomOp*) { return Description::kName; };
    o.GetExecutionProviderType = [](const ort::CustomOp*) -> const char* { return nullptr; };
    o.GetInputType = [](const ort::CustomOp*, size_t i) { return Description::InputType(i); };
    o.GetInputTypeCount = [](const ort::CustomOp*) { return Description::kInputs; };
    o.GetOutputType = [](const ort::CustomOp*, size_t) { return ort::kFloat; };
    o.GetOutputTypeCount = [](const ort::CustomOp*) { return Description::kOutputs; };
    o.GetInputCharacteristic = [](const ort::CustomOp*, size_t i) {
      return Description::IsOptionalInput(i) ? ort::kOptional : ort::kRequired;
    };
    o.GetOutputCharacteristic = [](const ort::CustomOp*, size_t i) {
      return Description::IsOptionalOutput(i) ? ort::kOptional : ort::kRequired;
    };
    o.GetInputMemoryType = [](const ort::CustomOp*, size_t) { return ort::kDefaultMemory; };
    o.CreateKernelV2 = [](const ort::CustomOp*, ort::Api* api, const ort::KernelInfo* info,
                          void** kernel) -> ort::Status* {
      try {
        *kernel = new Instance<Kernel>(api, info);
        return nullptr;
      } catch (const std::exception& error) {
        return Runtime(api).Error(error.what());
      }
    };
    o.KernelComputeV2 = [](void* kernel, ort::KernelContext* context) -> ort::Status* {
      auto* instance = static_cast<Instance<Kernel>*>(kernel);
      try {
        instance->kernel.Compute(context);
        return nullptr;
      } catch (const std::exception& error) {
        return instance->runtime.Error(error.what());
      }
    };
    o.KernelDestroy = [](void* kernel) { delete static_cast<Instance<Kernel>*>(kernel); };
    return o;
  }();
  return &op;
}

const ort::CustomOp* LinearOp();
const ort::CustomOp* AttentionOp();
const ort::CustomOp* MeanOp();
const ort::CustomOp* DenseOp();

}  // namespace hazgate
