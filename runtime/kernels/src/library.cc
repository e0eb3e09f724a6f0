// Entry points of the library: ONNX Runtime calls the first when it loads it.
#include <string>

#include "op.h"
#include "packed.h"

using hazgate::kApiVersion;
using hazgate::Runtime;

extern "C" __attribute__((visibility("default"))) OrtStatus* RegisterCustomOps(
    OrtSessionOptions* options, const OrtApiBase* base) {
  const OrtApi* api = base->GetApi(kApiVersion);
  // Version 1 can already make an error.
  const Runtime runtime(api == nullptr ? base->GetApi(1) : api);
  try {
    if (api == nullptr) {
      throw hazgate::OpError("hazgate-kernels needs ONNX Runtime 1.17 or later, this is " +
                             std::string(base->GetVersionString()));
    }
    hazgate::TheKernels();
    // Never released: sessions refer to it until the process ends.
    static OrtCustomOpDomain* const domain = runtime.Domain(
        "hazgate",
        {hazgate::LinearOp(), hazgate::AttentionOp(), hazgate::MeanOp(), hazgate::DenseOp()});
    runtime.Register(options, domain);
    return nullptr;
  } catch (const std::exception& error) {
    return runtime.Error(error.what());
  } catch (...) {
    return runtime.Error("hazgate-kernels cannot be registered");
  }
}

// Return the instruction set in use, or null if HAZGATE_KERNELS_ISA names one that is missing.
extern "C" __attribute__((visibility("default"))) const char* hazgate_kernels_isa() {
  try {
    return hazgate::TheKernels().name;
  } catch (...) {
    return nullptr;
  }
}

// Run the processor at its limit, for benchmarks: `kind` 0 multiplies int8, 1 float32, 2 reads
// `values`. Return the number of operations, or of bytes.
extern "C" __attribute__((visibility("default"))) int64_t
hazgate_kernels_peak(int kind, int64_t n, const float* values) {
  const hazgate::Kernels* kernels = hazgate::ChooseKernels(nullptr);
  float floats = 0;
  int32_t integers = 0;
  int64_t done;
  if (kind == 0) {
    done = kernels->dot_loop(n, &integers);
  } else if (kind == 1) {
    done = kernels->fma_loop(n, &floats);
  } else {
    floats = kernels->read(values, n);
    done = n * static_cast<int64_t>(sizeof(float));
  }
  // Never true, but compilers cannot know that and so cannot drop the work.
  return floats == 1e38f && integers == -1 ? 0 : done;
}

// Return the number of packed weight matrices in this process, over all sessions; -1 if they cannot
// be counted.
extern "C" __attribute__((visibility("default"))) int64_t hazgate_kernels_packed() {
  try {
    return hazgate::PackedMatrices();
  } catch (...) {
    return -1;
  }
}
