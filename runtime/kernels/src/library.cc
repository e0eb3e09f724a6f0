// What ONNX Runtime calls when it loads the library.
#include <string>

#include "op.h"

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
    static ort::CustomOpDomain* const domain =
        runtime.Domain("hazgate", {hazgate::LinearOp(), hazgate::AttentionOp(), hazgate::MeanOp(),
                                   hazgate::DenseOp()});
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
