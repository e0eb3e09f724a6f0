// hazgate.Linear: an optional norm, per-token quantisation, up to three int8 products of the same
// activation, an activation function, a residual.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>

#include "buffers.h"
#include "op.h"
#include "packed.h"

namespace hazgate {
namespace {

enum InputIndex {
  kX,            // float [..., depth]
  kResidual,     // float [..., columns out], optional
  kNormWeight,   // float [depth], optional
  kNormBias,     // float [depth], optional
  kBalance,      // float [depth], optional; multiplied in before quantising
  kBias,         // float [columns], optional
  kFirstWeight,  // int8 [depth, n], then float [n]; up to three pairs
};
constexpr int64_t kMaxDepth = 32768;
constexpr int64_t kMostColumns = INT32_MAX / 2;
constexpr int64_t kMostWeights = int64_t{1} << 40;
// Up to this many rows one thread quantises faster than several.
constexpr int64_t kSerialRows = 32;
constexpr int64_t kRowsPerQuantisation = 16;
// Quantised rows that stay in a core's cache while it reads panels of weights.
constexpr int64_t kRowsPerBlock = 192;
// Smallest task worth handing to a thread, in multiplications and additions.
constexpr double kOperationsPerTask = 2e6;
constexpr int64_t kMaxTasks = 64;

std::vector<float> Copy(const Tensor& tensor, int64_t n, const char* name) {
  if (!tensor) return {};
  if (tensor.size() != n) {
    throw OpError(std::string("Linear: ") + name + " has " + std::to_string(tensor.size()) +
                  " values, expected " + std::to_string(n));
  }
  return {tensor.floats(), tensor.floats() + n};
}

const float* OrNull(const std::vector<float>& values) {
  return values.empty() ? nullptr : values.data();
}

class Linear {
 public:
  Linear(const Runtime& runtime, const Kernels& kernels, const OrtKernelInfo* info)
      : runtime_(runtime), kernels_(kernels) {
    std::vector<StoredMatrix> matrices;
    int64_t columns = 0, depth = 0;
    for (int i = 0; i < kMaxMatrices; ++i) {
      const Tensor weight = runtime.Constant(info, kFirstWeight + 2 * i, kInt8, "Linear: weight");
      if (!weight) break;
      const Tensor scale =
          runtime.Constant(info, kFirstWeight + 2 * i + 1, kFloat, "Linear: scale");
      if (weight.shape.size() != 2 || weight.size() == 0) {
        throw OpError("Linear: a weight must be a matrix that is not empty");
      }
      if (weight.size() > kMostWeights) throw OpError("Linear: a weight is too large");
      if (i == 0) depth = weight.shape[0];
      if (weight.shape[0] != depth || depth > kMaxDepth) {
        throw OpError("Linear: weights of depth " + std::to_string(weight.shape[0]) + " and " +
                      std::to_string(depth) + ", at most " + std::to_string(kMaxDepth));
      }
      if (!scale || scale.size() != weight.shape[1]) {
        throw OpError("Linear: a weight needs a constant scale for each of its columns");
      }
      columns += weight.shape[1];
      if (columns > kMostColumns) throw OpError("Linear: too many columns");
      matrices.push_back({static_cast<const int8_t*>(weight.data), scale.floats(),
                          static_cast<int>(depth), static_cast<int>(weight.shape[1])});
    }
    if (matrices.empty()) throw OpError("Linear: weights must be constants");
    for (size_t i = matrices.size(); i < kMaxMatrices; ++i) {
      if (runtime.Constant(info, kFirstWeight + 2 * i, kInt8, "Linear: weight")) {
        throw OpError("Linear: a weight stands behind one that is left out");
      }
    }
    const int64_t kind = runtime.IntAttribute(info, "activation");
    if (kind < 0 || kind > 2) throw OpError("Linear: activation must be 0, 1 or 2");
    const auto activation = static_cast<Activation>(kind);
    if (activation == Activation::kGatedGelu &&
        (matrices.size() != 2 || matrices[0].columns != matrices[1].columns)) {
      throw OpError("Linear: a gated activation takes two weights of one shape");
    }
    norm_weight_ =
        Copy(runtime.Constant(info, kNormWeight, kFloat, "norm weight"), depth, "norm weight");
    norm_bias_ = Copy(runtime.Constant(info, kNormBias, kFloat, "norm bias"), depth, "norm bias");
    balance_ = Copy(runtime.Constant(info, kBalance, kFloat, "balance"), depth, "balance");
    const std::vector<float> bias =
        Copy(runtime.Constant(info, kBias, kFloat, "bias"), columns, "bias");
    norm_ = {OrNull(norm_weight_), OrNull(norm_bias_), OrNull(balance_),
             runtime.FloatAttribute(info, "epsilon")};
    if (!std::isfinite(norm_.epsilon) || norm_.epsilon < 0) {
      throw OpError("Linear: epsilon must be finite and not negative");
    }
    if (norm_.bias && !norm_.weight) throw OpError("Linear: a norm's bias needs its weight");
    matrix_ = Pack(kernels, matrices, OrNull(bias), activation);
    const int64_t bits = runtime.IntAttribute(info, "activation_bits");
    if (bits != 8 && bits != 16) throw OpError("Linear: activation_bits must be 8 or 16");
    has_rest_ = bits == 16;
    if (has_rest_ && activation != Activation::kNone) {
      throw OpError("Linear: 16 bits go with no activation function");
    }
    out_columns_ = activation == Activation::kGatedGelu ? columns / 2 : columns;
  }

  void Compute(OrtKernelContext* context) const {
    const PackedMatrix& m = *matrix_;
    const Tensor x = runtime_.Input(context, kX, kFloat, "Linear: x");
    const Tensor residual = runtime_.Input(context, kResidual, kFloat, "Linear: residual");
    if (x.shape.empty() || x.width() != m.depth) {
      throw OpError("Linear: x is " + std::to_string(x.width()) + " wide, its weights are " +
                    std::to_string(m.depth) + " deep");
    }
    std::vector<int64_t> shape = x.shape;
    shape.back() = out_columns_;
    if (residual && residual.shape != shape) {
      throw OpError("Linear: the residual has another shape than the result");
    }
    const Tensor y = runtime_.Output(context, 0, shape);
    if (!y) throw OpError("Linear: nothing asks for its result");
    const Tensor normed = runtime_.Output(context, 1, x.shape);
    if (normed && !norm_.weight) throw OpError("Linear: no norm, but its result is asked for");
    const int64_t rows = x.rows();
    if (rows == 0) return;

    Scratch scratch(runtime_, context);
    const auto space = [&]() -> QuantisedRows {
      return {static_cast<uint8_t*>(scratch.Bytes(Times(rows, m.padded_depth))),
              static_cast<int32_t*>(scratch.Bytes(Times(rows, sizeof(int32_t)))),
              scratch.Floats(rows)};
    };
    const QuantisedRows quantised = space(), rest = has_rest_ ? space() : QuantisedRows{};
    const bool is_spared = norm_.weight || norm_.balance || has_rest_;
    Buffers spares(&scratch, 3 * int64_t{m.depth});
    std::atomic<bool> is_short{false};
    const auto quantise = [&](int64_t begin, int64_t end) {
      float* spare = is_spared ? spares.Take() : nullptr;
      if (is_spared && spare == nullptr) {
        is_short = true;
        return;
      }
      const QuantisedRows some = has_rest_ ? rest.from(begin, m.padded_depth) : QuantisedRows{};
      kernels_.quantise(x.floats() + begin * m.depth, end - begin, m.depth, norm_,
                        normed ? normed.mutable_floats() + begin * m.depth : nullptr,
                        quantised.from(begin, m.padded_depth), has_rest_ ? &some : nullptr, spare);
      if (spare != nullptr) spares.Give(spare);
    };
    if (rows <= kSerialRows) {
      quantise(0, rows);
    } else {
      const int64_t n =
          std::min((rows + kRowsPerQuantisation - 1) / kRowsPerQuantisation, kMaxTasks);
      runtime_.ParallelFor(context, n, [&](size_t i) {
        quantise(rows * static_cast<int64_t>(i) / n, rows * static_cast<int64_t>(i + 1) / n);
      });
    }

    if (is_short) throw OpError("Linear: out of memory");

    // A task is a block of rows times a range of panels. The grid cannot change a result: integer
    // sums are exact.
    const int64_t row_blocks = (rows + kRowsPerBlock - 1) / kRowsPerBlock;
    const double operations = 2.0 * rows * m.depth * m.columns;
    const int64_t wanted =
        std::clamp<int64_t>(static_cast<int64_t>(operations / kOperationsPerTask), 1, kMaxTasks);
    const int64_t panel_ranges =
        std::clamp<int64_t>((wanted + row_blocks - 1) / row_blocks, 1, m.n_panels);
    runtime_.ParallelFor(context, row_blocks * panel_ranges, [&](size_t i) {
      const int64_t block = static_cast<int64_t>(i) / panel_ranges;
      const int64_t range = static_cast<int64_t>(i) % panel_ranges;
      Product p;
      p.rows = quantised;
      p.matrix = &m;
      p.bias = m.bias;
      p.residual = residual ? residual.floats() : nullptr;
      p.output = y.mutable_floats();
      p.row_begin = rows * block / row_blocks;
      p.row_end = rows * (block + 1) / row_blocks;
      p.panel_begin = static_cast<int>(m.n_panels * range / panel_ranges);
      p.panel_end = static_cast<int>(m.n_panels * (range + 1) / panel_ranges);
      kernels_.multiply(p);
      if (has_rest_) {
        p.rows = rest;
        p.bias = m.zeros;
        p.residual = p.output;
        kernels_.multiply(p);
      }
    });
  }

 private:
  const Runtime& runtime_;
  const Kernels& kernels_;
  std::vector<float> norm_weight_, norm_bias_, balance_;
  Norm norm_;
  std::shared_ptr<const PackedMatrix> matrix_;
  int64_t out_columns_;
  bool has_rest_;
};

struct LinearDescription {
  static constexpr const char* kName = "Linear";
  static constexpr size_t kInputs = kFirstWeight + 2 * kMaxMatrices;
  static constexpr size_t kOutputs = 2;
  static ONNXTensorElementDataType InputType(size_t i) {
    return i >= kFirstWeight && (i - kFirstWeight) % 2 == 0 ? kInt8 : kFloat;
  }
  static bool IsOptionalInput(size_t i) {
    return i != kX && i != kFirstWeight && i != kFirstWeight + 1;
  }
  static bool IsOptionalOutput(size_t i) { return i == 1; }
};

}  // namespace

const OrtCustomOp* LinearOp() { return DescribeOp<Linear, LinearDescription>(); }

}  // namespace hazgate
