// What ONNX Runtime calls when it loads the library.
#include <string>

#include "op.h"
#include "packed.h"

using hazgate::Runtime;
namespace ort = hazgate::ort;

extern "C" __attribute__((visibility("default"))) ort::Status* RegisterCustomOps(
    ort::SessionOptions* options, const ort::ApiBase* base) {
  ort::Api* api = base->GetApi(ort::kApiVersion);
  if (api == nullptr) {
    // The first version has what makes an error.
    return Runtime(base->GetApi(1))
        .Error("hazgate-kernels needs ONNX Runtime 1.17 or later, this is " +
               std::string(base->GetVersionString()));
  }
  const Runtime runtime(api);
  try {
    hazgate::TheKernels();
    // Sessions refer to it as long as they live; so it is never released.
    static ort::CustomOpDomain* const domain = runtime.Domain(
        "hazgate",
        {hazgate::LinearOp(), hazgate::AttentionOp(), hazgate::MeanOp(), hazgate::DenseOp()});
    runtime.Register(options, domain);
    return nullptr;
  } catch (const std::exception& error) {
    return runtime.Error(error.what());
  }
}

// The instruction set that runs here; null if the environment asks for one that is not there.
extern "C" __attribute__((visibility("default"))) const char* hazgate_kernels_isa() {
  try {
    return hazgate::TheKernels().name;
  } catch (const std::exception&) {
    return nullptr;
  }
}

// For benchmarks: what the processor does at most. `kind` 0 multiplies int8, 1 float32, 2 reads
// `values`; returns the operations, or the bytes.
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
  // Never so, which compilers do not know: nothing of the work may be left out.
  return floats == 1e38f && integers == -1 ? 0 : done;
}

// How many weight matrices are packed in this process, for all sessions together.
extern "C" __attribute__((visibility("default"))) int64_t hazgate_kernels_packed() {
  return hazgate::PackedMatrices();
}
