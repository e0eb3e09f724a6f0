// hazgate.Mean and hazgate.Dense: the head behind the layers, in float32 and row by row, so a
// text's result does not depend on the other texts of its batch.
#include <algorithm>
#include <cmath>

#include "op.h"

namespace hazgate {
namespace {

// Tokens per partial sum. Fixed, so a text's mean is the same on any number of threads.
constexpr int64_t kTokensPerSum = 256;
// Columns per task; a multiple of the widest step of any instruction set.
constexpr int64_t kColumnsPerTask = 128;
constexpr int64_t kWidest = INT32_MAX / 2;

class Mean {
 public:
  enum InputIndex { kX, kEnds, kNormWeight };

  Mean(const Runtime& runtime, const Kernels& kernels, const OrtKernelInfo* info)
      : runtime_(runtime), kernels_(kernels), epsilon_(runtime.FloatAttribute(info, "epsilon")) {
    if (!std::isfinite(epsilon_) || epsilon_ < 0) {
      throw OpError("Mean: epsilon must be finite and not negative");
    }
    const Tensor weight = runtime.Constant(info, kNormWeight, kFloat, "Mean: norm weight");
    if (!weight) return;
    if (weight.size() == 0) throw OpError("Mean: the norm weight is empty");
    weight_.assign(weight.floats(), weight.floats() + weight.size());
  }

  void Compute(OrtKernelContext* context) const {
    const Tensor x = runtime_.Input(context, kX, kFloat, "Mean: x");
    const Tensor ends = runtime_.Input(context, kEnds, kInt64, "Mean: ends");
    if (x.shape.size() != 2) throw OpError("Mean: x must be [tokens, width]");
    if (!ends) throw OpError("Mean: ends is missing");
    const int64_t width = x.shape[1], n = ends.size();
    if (width > kWidest) throw OpError("Mean: x is too wide");
    if (!weight_.empty() && static_cast<int64_t>(weight_.size()) != width) {
      throw OpError("Mean: the norm has another width than x");
    }
    const auto* end = static_cast<const int64_t*>(ends.data);
    struct Part {
      int64_t text, begin, end;
    };
    std::vector<Part> parts;
    int64_t begin = 0;
    for (int64_t i = 0; i < n; begin = end[i++]) {
      if (end[i] < begin || end[i] > x.shape[0]) throw OpError("Mean: ends must rise");
      for (int64_t at = begin; at < end[i]; at += kTokensPerSum) {
        parts.push_back({i, at, std::min(at + kTokensPerSum, end[i])});
      }
    }
    const Tensor y = runtime_.Output(context, 0, {n, width});
    if (!y) throw OpError("Mean: nothing asks for its result");
    const int64_t n_values = Times(n, width);
    if (n_values == 0) return;
    std::fill_n(y.mutable_floats(), n_values, 0.f);
    if (parts.empty()) return;
    Scratch scratch(runtime_, context);
    const auto n_parts = static_cast<int64_t>(parts.size());
    float* sums = scratch.Floats(Times(n_parts, width));
    float* rows = scratch.Floats(Times(n_parts, width));
    std::fill_n(sums, n_parts * width, 0.f);
    const Norm norm{weight_.empty() ? nullptr : weight_.data(), nullptr, nullptr, epsilon_};
    runtime_.ParallelFor(context, parts.size(), [&](size_t i) {
      const Part& part = parts[i];
      const auto at = static_cast<int64_t>(i) * width;
      kernels_.add_rows(x.floats() + part.begin * width, part.end - part.begin,
                        static_cast<int>(width), norm, rows + at, sums + at);
    });
    for (int64_t i = 0; i < n_parts; ++i) {
      float* total = y.mutable_floats() + parts[i].text * width;
      for (int64_t k = 0; k < width; ++k) total[k] += sums[i * width + k];
    }
    begin = 0;
    for (int64_t i = 0; i < n; begin = end[i++]) {
      const auto tokens = static_cast<float>(std::max<int64_t>(end[i] - begin, 1));
      for (int64_t k = 0; k < width; ++k) y.mutable_floats()[i * width + k] /= tokens;
    }
  }

 private:
  const Runtime& runtime_;
  const Kernels& kernels_;
  std::vector<float> weight_;
  float epsilon_;
};

struct MeanDescription {
  static constexpr const char* kName = "Mean";
  static constexpr size_t kInputs = 3;
  static constexpr size_t kOutputs = 1;
  static ONNXTensorElementDataType InputType(size_t i) {
    return i == Mean::kEnds ? kInt64 : kFloat;
  }
  static bool IsOptionalInput(size_t i) { return i == Mean::kNormWeight; }
  static bool IsOptionalOutput(size_t) { return false; }
};

class Dense {
 public:
  enum InputIndex { kX, kWeight, kBias };

  Dense(const Runtime& runtime, const Kernels& kernels, const OrtKernelInfo* info)
      : runtime_(runtime), kernels_(kernels) {
    const int64_t kind = runtime.IntAttribute(info, "activation");
    if (kind != 0 && kind != 1) throw OpError("Dense: activation must be 0 or 1");
    activation_ = static_cast<Activation>(kind);
  }

  void Compute(OrtKernelContext* context) const {
    const Tensor x = runtime_.Input(context, kX, kFloat, "Dense: x");
    const Tensor weight = runtime_.Input(context, kWeight, kFloat, "Dense: weight");
    const Tensor bias = runtime_.Input(context, kBias, kFloat, "Dense: bias");
    if (x.shape.size() != 2 || weight.shape.size() != 2 || x.shape[1] != weight.shape[0]) {
      throw OpError("Dense: x must be [rows, depth], its weight [depth, columns]");
    }
    const int64_t columns = weight.shape[1];
    if (bias && bias.size() != columns) throw OpError("Dense: the bias needs a value a column");
    // One of both may be large while the other is zero.
    if (columns > kWidest || weight.shape[0] > kWidest || weight.size() > INT32_MAX) {
      throw OpError("Dense: the weight is too large");
    }
    const Tensor y = runtime_.Output(context, 0, {x.shape[0], columns});
    if (!y) throw OpError("Dense: nothing asks for its result");
    if (x.shape[0] == 0 || columns == 0) return;
    const int64_t n = (columns + kColumnsPerTask - 1) / kColumnsPerTask;
    runtime_.ParallelFor(context, n, [&](size_t i) {
      DenseProduct p{};
      p.x = x.floats();
      p.weights = weight.floats();
      p.bias = bias ? bias.floats() : nullptr;
      p.output = y.mutable_floats();
      p.rows = x.shape[0];
      p.depth = static_cast<int>(x.shape[1]);
      p.columns = static_cast<int>(columns);
      p.column_begin = static_cast<int>(i * kColumnsPerTask);
      p.column_end = static_cast<int>(std::min<int64_t>((i + 1) * kColumnsPerTask, columns));
      p.activation = activation_;
      kernels_.multiply_dense(p);
    });
  }

 private:
  const Runtime& runtime_;
  const Kernels& kernels_;
  Activation activation_;
};

struct DenseDescription {
  static constexpr const char* kName = "Dense";
  static constexpr size_t kInputs = 3;
  static constexpr size_t kOutputs = 1;
  static ONNXTensorElementDataType InputType(size_t) { return kFloat; }
  static bool IsOptionalInput(size_t i) { return i == Dense::kBias; }
  static bool IsOptionalOutput(size_t) { return false; }
};

}  // namespace

const OrtCustomOp* MeanOp() { return DescribeOp<Mean, MeanDescription>(); }
const OrtCustomOp* DenseOp() { return DescribeOp<Dense, DenseDescription>(); }

}  // namespace hazgate
