// Build ONNX Runtime's description of an operator from a kernel class and a description class.
#pragma once

#include <atomic>
#include <cstdlib>
#include <exception>
#include <new>

#include "kernels.h"
#include "runtime.h"

namespace hazgate {

// Return the kernels of this process, chosen once; HAZGATE_KERNELS_ISA overrides the choice.
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
  Instance(const OrtApi* api, const OrtKernelInfo* info)
      : runtime(api), kernel(runtime, TheKernels(), info) {}
};

template <typename Kernel, typename Description>
const OrtCustomOp* DescribeOp() {
  static const OrtCustomOp op = [] {
    OrtCustomOp o{};
    o.version = kApiVersion;
    o.GetName = [](const OrtCustomOp*) { return Description::kName; };
    o.GetExecutionProviderType = [](const OrtCustomOp*) -> const char* { return nullptr; };
    o.GetInputType = [](const OrtCustomOp*, size_t i) { return Description::InputType(i); };
    o.GetInputTypeCount = [](const OrtCustomOp*) { return Description::kInputs; };
    o.GetOutputType = [](const OrtCustomOp*, size_t) { return kFloat; };
    o.GetOutputTypeCount = [](const OrtCustomOp*) { return Description::kOutputs; };
    o.GetInputCharacteristic = [](const OrtCustomOp*, size_t i) {
      return Description::IsOptionalInput(i) ? INPUT_OUTPUT_OPTIONAL : INPUT_OUTPUT_REQUIRED;
    };
    o.GetOutputCharacteristic = [](const OrtCustomOp*, size_t i) {
      return Description::IsOptionalOutput(i) ? INPUT_OUTPUT_OPTIONAL : INPUT_OUTPUT_REQUIRED;
    };
    o.GetInputMemoryType = [](const OrtCustomOp*, size_t) { return OrtMemTypeDefault; };
    o.CreateKernelV2 = [](const OrtCustomOp*, const OrtApi* api, const OrtKernelInfo* info,
                          void** kernel) -> OrtStatus* {
      try {
        *kernel = new Instance<Kernel>(api, info);
        return nullptr;
      } catch (const std::exception& error) {
        return Runtime(api).Error(error.what());
      } catch (...) {
        return Runtime(api).Error("an operator failed");
      }
    };
    o.KernelComputeV2 = [](void* kernel, OrtKernelContext* context) -> OrtStatus* {
      auto* instance = static_cast<Instance<Kernel>*>(kernel);
      try {
        instance->kernel.Compute(context);
        return nullptr;
      } catch (const std::exception& error) {
        return instance->runtime.Error(error.what());
      } catch (...) {
        return instance->runtime.Error("an operator failed");
      }
    };
    o.KernelDestroy = [](void* kernel) { delete static_cast<Instance<Kernel>*>(kernel); };
    return o;
  }();
  return &op;
}

const OrtCustomOp* LinearOp();
const OrtCustomOp* AttentionOp();
const OrtCustomOp* MeanOp();
const OrtCustomOp* DenseOp();

}  // namespace hazgate
