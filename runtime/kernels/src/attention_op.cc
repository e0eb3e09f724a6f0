// hazgate.Attention: softmax(Q K^T) V within each text of a batch without padding, with rotary
// positions and a window of tokens on each side.
#include <algorithm>
#include <cmath>

#include "buffers.h"
#include "op.h"

namespace hazgate {
namespace {

enum InputIndex {
  kQkv,   // float [tokens, 3 x hidden]
  kEnds,  // int64 [texts], the end of each text
  kCos,   // float [positions, width / 2], optional
  kSin,   // like cos
};
// Smallest task worth handing to a thread, in multiplications and additions.
constexpr double kOperationsPerTask = 4e5;

constexpr int64_t kMostHeads = 1024;
constexpr int64_t kWidestWindow = int64_t{1} << 31;

// A range of heads for a range of queries of one text.
struct Task {
  int64_t text_begin, text_end;
  int64_t query_begin, query_end;
  int head_begin, head_end;
};

class AttentionKernel {
 public:
  AttentionKernel(const Runtime& runtime, const Kernels& kernels, const OrtKernelInfo* info)
      : runtime_(runtime),
        kernels_(kernels),
        n_heads_(runtime.IntAttribute(info, "num_heads")),
        window_(runtime.IntAttribute(info, "window")),
        scale_(runtime.FloatAttribute(info, "scale")) {
    // Bounds of what a model gives, so that no product or sum below overflows.
    if (n_heads_ < 1 || n_heads_ > kMostHeads) {
      throw OpError("Attention: num_heads must be from 1 to " + std::to_string(kMostHeads));
    }
    if (window_ < -1) throw OpError("Attention: window must be a number of tokens, or -1 for all");
    if (!std::isfinite(scale_)) throw OpError("Attention: scale must be finite");
    // No text has as many tokens: the window then reaches all of them.
    window_ = std::min(window_, kWidestWindow);
  }

  void Compute(OrtKernelContext* context) const {
    const Tensor qkv = runtime_.Input(context, kQkv, kFloat, "Attention: qkv");
    const Tensor ends = runtime_.Input(context, kEnds, kInt64, "Attention: ends");
    const Tensor cos = runtime_.Input(context, kCos, kFloat, "Attention: cos");
    const Tensor sin = runtime_.Input(context, kSin, kFloat, "Attention: sin");
    if (qkv.shape.size() != 2 || qkv.width() % (3 * n_heads_) != 0) {
      throw OpError("Attention: qkv must be [tokens, 3 x " + std::to_string(n_heads_) +
                    " x width]");
    }
    const int64_t tokens = qkv.shape[0], hidden = qkv.width() / 3, width = hidden / n_heads_;
    if (width < 1 || width > 1024) throw OpError("Attention: heads must be 1 to 1,024 wide");
    const auto* end = static_cast<const int64_t*>(ends.data);
    if (!ends) throw OpError("Attention: ends is missing");
    const int64_t longest = Longest(end, ends.size(), tokens);
    if (static_cast<bool>(cos) != static_cast<bool>(sin)) {
      throw OpError("Attention: cos and sin come together");
    }
    if (cos && (width % 2 != 0 || cos.shape != sin.shape || cos.shape.size() != 2 ||
                cos.width() != width / 2 || cos.shape[0] < longest)) {
      throw OpError("Attention: cos and sin must be [at least " + std::to_string(longest) + ", " +
                    std::to_string(width / 2) + "]");
    }
    const Tensor out = runtime_.Output(context, 0, {tokens, hidden});
    if (!out) throw OpError("Attention: nothing asks for its result");
    if (tokens == 0) return;

    const std::vector<Task> tasks = Plan(end, ends.size(), width);
    int64_t most_keys = 0;
    for (const Task& task : tasks) {
      Attention a = Describe(task, width);
      int64_t first, last;
      KeyRange(a, &first, &last);
      most_keys = std::max(most_keys, last - first);
    }
    Scratch scratch(runtime_, context);
    Buffers buffers(&scratch, static_cast<int64_t>(kernels_.attention_scratch(most_keys, width)));
    std::atomic<bool> is_short{false};
    runtime_.ParallelFor(context, tasks.size(), [&](size_t i) {
      const Task& task = tasks[i];
      Attention a = Describe(task, width);
      a.qkv = qkv.floats() + task.text_begin * 3 * hidden;
      a.output = out.mutable_floats() + task.text_begin * hidden;
      a.cos = cos ? cos.floats() : nullptr;
      a.sin = sin ? sin.floats() : nullptr;
      a.scratch = buffers.Take();
      if (a.scratch == nullptr) {
        is_short = true;
        return;
      }
      kernels_.attend(a);
      buffers.Give(a.scratch);
    });
    if (is_short) throw OpError("Attention: out of memory");
  }

 private:
  Attention Describe(const Task& task, int64_t width) const {
    Attention a{};
    a.n_tokens = task.text_end - task.text_begin;
    a.query_begin = task.query_begin;
    a.query_end = task.query_end;
    a.n_heads = static_cast<int>(n_heads_);
    a.width = static_cast<int>(width);
    a.head_begin = task.head_begin;
    a.head_end = task.head_end;
    a.window = window_;
    a.scale = scale_;
    return a;
  }

  // Return the number of tokens of the longest text.
  int64_t Longest(const int64_t* end, int64_t n, int64_t tokens) const {
    int64_t longest = 0, before = 0;
    for (int64_t i = 0; i < n; ++i) {
      if (end[i] < before || end[i] > tokens) {
        throw OpError("Attention: ends must rise and stay within the tokens");
      }
      longest = std::max(longest, end[i] - before);
      before = end[i];
    }
    if (before != tokens) {
      throw OpError("Attention: the last text ends at " + std::to_string(before) + " of " +
                    std::to_string(tokens) + " tokens");
    }
    return longest;
  }

  std::vector<Task> Plan(const int64_t* end, int64_t n, int64_t width) const {
    std::vector<Task> tasks;
    int64_t begin = 0;
    for (int64_t i = 0; i < n; begin = end[i++]) {
      const int64_t length = end[i] - begin;
      const int64_t chunks = (length + kQueryChunk - 1) / kQueryChunk;
      for (int64_t c = 0; c < chunks; ++c) {
        Task task{begin, end[i], length * c / chunks, length * (c + 1) / chunks, 0, 0};
        const int64_t seen = window_ < 0 ? length : std::min(length, 2 * window_ + 1);
        const double operations = 4.0 * (task.query_end - task.query_begin) * seen * width;
        const int64_t heads =
            std::clamp<int64_t>(static_cast<int64_t>(kOperationsPerTask / operations), 1, n_heads_);
        for (int64_t head = 0; head < n_heads_; head += heads) {
          task.head_begin = static_cast<int>(head);
          task.head_end = static_cast<int>(std::min(head + heads, n_heads_));
          tasks.push_back(task);
        }
      }
    }
    return tasks;
  }

  const Runtime& runtime_;
  const Kernels& kernels_;
  int64_t n_heads_, window_;
  float scale_;
};

struct AttentionDescription {
  static constexpr const char* kName = "Attention";
  static constexpr size_t kInputs = 4;
  static constexpr size_t kOutputs = 1;
  static ONNXTensorElementDataType InputType(size_t i) { return i == kEnds ? kInt64 : kFloat; }
  static bool IsOptionalInput(size_t i) { return i >= kCos; }
  static bool IsOptionalOutput(size_t) { return false; }
};

}  // namespace

const OrtCustomOp* AttentionOp() { return DescribeOp<AttentionKernel, AttentionDescription>(); }

}  // namespace hazgate
