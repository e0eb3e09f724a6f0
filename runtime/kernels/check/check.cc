// Check every kernel of this processor against double precision, without ONNX Runtime: under
// emulation and under sanitizers.
//
//   cmake -S . -B build -DHAZGATE_CHECK=ON && cmake --build build && build/hazgate_kernels_check
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "../src/kernels.h"
#include "../src/packed.h"

namespace hazgate {
namespace {

uint64_t g_state = 88172645463325252ull;

uint32_t Next() {
  g_state ^= g_state << 13;
  g_state ^= g_state >> 7;
  g_state ^= g_state << 17;
  return static_cast<uint32_t>(g_state >> 16);
}
float Uniform() { return static_cast<float>(Next() & 0xffff) / 32768.f - 1.f; }
std::vector<float> Floats(int64_t n) {
  std::vector<float> values(static_cast<size_t>(n));
  for (float& v : values) v = 2.f * Uniform();
  return values;
}

int g_failures = 0;

void Expect(const Kernels& k, const std::string& what, const std::vector<double>& expected,
            const std::vector<float>& got, double tolerance) {
  double largest = 1e-30, error = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::fabs(expected[i]));
    const double e = std::fabs(expected[i] - got[i]);
    error = std::isfinite(e) ? std::max(error, e) : INFINITY;
  }
  if (!(error <= tolerance * largest)) {
    ++g_failures;
    std::printf("%s: %s is off by %.3g of %.3g\n", k.name, what.c_str(), error, largest);
  }
}

double Gelu(double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }

void CheckLinear(const Kernels& k, int rows, int depth, const std::vector<int>& columns,
                 Activation activation, bool has_norm, bool has_rest, int n_threads) {
  std::vector<std::vector<int8_t>> weights;
  std::vector<std::vector<float>> scales;
  std::vector<StoredMatrix> stored;
  int total = 0;
  for (int n : columns) {
    weights.emplace_back(static_cast<size_t>(depth) * n);
    for (int8_t& w : weights.back()) w = static_cast<int8_t>(static_cast<int>(Next() % 255) - 127);
    scales.push_back(Floats(n));
    total += n;
  }
  for (size_t i = 0; i < columns.size(); ++i) {
    stored.push_back({weights[i].data(), scales[i].data(), depth, columns[i]});
  }
  const std::vector<float> bias = Floats(total), weight = Floats(depth), shift = Floats(depth);
  const auto matrix = Pack(k, stored, bias.data(), activation);
  const PackedMatrix& m = *matrix;
  const std::vector<float> x = Floats(static_cast<int64_t>(rows) * depth);
  std::vector<float> normed(x.size());
  const auto bytes = static_cast<size_t>(rows) * m.padded_depth;
  std::vector<uint8_t> values(bytes), rest_values(bytes);
  std::vector<int32_t> zeros(rows), rest_zeros(rows);
  std::vector<float> steps(rows), rest_steps(rows);
  const QuantisedRows q{values.data(), zeros.data(), steps.data()};
  const QuantisedRows rest{rest_values.data(), rest_zeros.data(), rest_steps.data()};
  const Norm norm{has_norm ? weight.data() : nullptr, has_norm ? shift.data() : nullptr, nullptr,
                  1e-5f};
  std::vector<float> spare(3 * static_cast<size_t>(depth));
  k.quantise(x.data(), rows, depth, norm, normed.data(), q, has_rest ? &rest : nullptr,
             has_norm || has_rest ? spare.data() : nullptr);
  const int out = activation == Activation::kGatedGelu ? total / 2 : total;
  const std::vector<float> residual = Floats(static_cast<int64_t>(rows) * out);
  std::vector<float> y(residual.size());
  // Four tasks share panels and rows as in the operator.
  std::vector<std::thread> threads;
  std::vector<Product> tasks;
  for (int half = 0; half < 2; ++half) {
    for (int part = 0; part < 2; ++part) {
      Product p{q,
                &m,
                m.bias,
                residual.data(),
                y.data(),
                rows * half / 2,
                rows * (half + 1) / 2,
                m.n_panels * part / 2,
                m.n_panels * (part + 1) / 2};
      tasks.push_back(p);
    }
  }
  const auto run = [&](size_t first) {
    for (size_t i = first; i < tasks.size(); i += static_cast<size_t>(n_threads)) {
      k.multiply(tasks[i]);
      if (!has_rest) continue;
      Product again = tasks[i];
      again.rows = rest;
      again.bias = m.zeros;
      again.residual = y.data();
      k.multiply(again);
    }
  };
  for (int t = 0; t < n_threads; ++t) threads.emplace_back(run, static_cast<size_t>(t));
  for (std::thread& t : threads) t.join();

  // ARM's products take signed activations.
  const std::string name = k.name;
  const bool is_signed = name == "neon" || name == "i8mm";
  std::vector<double> expected(y.size());
  for (int r = 0; r < rows; ++r) {
    std::vector<double> row(static_cast<size_t>(total));
    for (int c = 0; c < total; ++c) {
      int at = c;
      size_t i = 0;
      while (at >= columns[i]) at -= columns[i++];
      double sum = 0;
      for (int d = 0; d < depth; ++d) {
        const float* from = has_norm ? normed.data() : x.data();
        double value;
        if (has_rest) {
          value = from[static_cast<size_t>(r) * depth + d];
        } else {
          const uint8_t byte = values[static_cast<size_t>(r) * m.padded_depth + d];
          const int whole = is_signed ? static_cast<int8_t>(byte) : byte;
          value = static_cast<double>(whole - zeros[r]) * steps[r];
        }
        sum += value * weights[i][static_cast<size_t>(d) * columns[i] + at];
      }
      row[c] = sum * scales[i][at] + bias[c];
    }
    for (int c = 0; c < out; ++c) {
      double v = row[c];
      if (activation == Activation::kGelu) v = Gelu(v);
      if (activation == Activation::kGatedGelu) v = Gelu(v) * row[out + c];
      expected[static_cast<size_t>(r) * out + c] = v + residual[static_cast<size_t>(r) * out + c];
    }
  }
  Expect(k, "a linear of " + std::to_string(depth) + " by " + std::to_string(total), expected, y,
         has_rest ? 3e-4 : 3e-6);
}

void CheckAttention(const Kernels& k, int64_t n, int heads, int width, int64_t window,
                    bool has_rotary) {
  const int64_t hidden = static_cast<int64_t>(heads) * width;
  const std::vector<float> qkv = Floats(n * 3 * hidden);
  const int half = width / 2;
  std::vector<float> cos, sin;
  for (int64_t i = 0; has_rotary && i < n * half; ++i) {
    const double angle =
        static_cast<double>(i / half) * std::pow(1e4, -static_cast<double>(i % half) / half);
    cos.push_back(static_cast<float>(std::cos(angle)));
    sin.push_back(static_cast<float>(std::sin(angle)));
  }
  std::vector<float> y(static_cast<size_t>(n * hidden));
  for (int64_t begin = 0; begin < n; begin += kQueryChunk) {
    Attention a{};
    a.qkv = qkv.data();
    a.cos = has_rotary ? cos.data() : nullptr;
    a.sin = has_rotary ? sin.data() : nullptr;
    a.output = y.data();
    a.n_tokens = n;
    a.query_begin = begin;
    a.query_end = std::min(n, begin + kQueryChunk);
    a.n_heads = heads;
    a.width = width;
    a.head_end = heads;
    a.window = window;
    a.scale = 0.3f;
    int64_t first, last;
    KeyRange(a, &first, &last);
    // Exactly the size asked for, so a sanitizer reports a float beyond it.
    const size_t floats = k.attention_scratch(last - first, width);
    std::unique_ptr<float, decltype(&std::free)> scratch(
        static_cast<float*>(std::aligned_alloc(64, (floats * 4 + 63) / 64 * 64)), &std::free);
    a.scratch = scratch.get();
    k.attend(a);
  }
  std::vector<double> expected(y.size());
  const auto at = [&](int64_t token, int part, int head, int d) -> double {
    const float* x = qkv.data() + token * 3 * hidden + part * hidden + head * width;
    if (!has_rotary || part == 2) return x[d];
    const double c = cos[token * half + d % half], s = sin[token * half + d % half];
    return d < half ? x[d] * c - x[d + half] * s : x[d] * c + x[d - half] * s;
  };
  std::vector<double> weights(static_cast<size_t>(n));
  for (int head = 0; head < heads; ++head) {
    for (int64_t i = 0; i < n; ++i) {
      double largest = -1e300, sum = 0;
      for (int64_t j = 0; j < n; ++j) {
        double score = 0;
        for (int d = 0; d < width; ++d) score += at(i, 0, head, d) * at(j, 1, head, d);
        const bool is_seen = window < 0 || std::llabs(i - j) <= window;
        weights[j] = is_seen ? score * static_cast<double>(0.3f) : -INFINITY;
        largest = std::max(largest, weights[j]);
      }
      for (int64_t j = 0; j < n; ++j) sum += weights[j] = std::exp(weights[j] - largest);
      for (int d = 0; d < width; ++d) {
        double total = 0;
        for (int64_t j = 0; j < n; ++j) total += weights[j] * at(j, 2, head, d);
        expected[i * hidden + head * width + d] = total / sum;
      }
    }
  }
  Expect(k, "attention over " + std::to_string(n) + " tokens", expected, y, 1e-5);
}

void CheckFloats(const Kernels& k, int64_t rows, int depth, int columns) {
  const std::vector<float> x = Floats(rows * depth),
                           w = Floats(static_cast<int64_t>(depth) * columns),
                           bias = Floats(columns);
  std::vector<float> y(static_cast<size_t>(rows * columns)), sum(depth), row(depth);
  k.multiply_dense({x.data(), w.data(), bias.data(), y.data(), rows, depth, columns, 0, columns,
                    Activation::kGelu});
  k.add_rows(x.data(), rows, depth, Norm{}, row.data(), sum.data());
  std::vector<double> expected(y.size()), total(depth);
  for (int64_t r = 0; r < rows; ++r) {
    for (int d = 0; d < depth; ++d) total[d] += x[r * depth + d];
    for (int c = 0; c < columns; ++c) {
      double v = bias[c];
      for (int d = 0; d < depth; ++d)
        v += static_cast<double>(x[r * depth + d]) * w[d * columns + c];
      expected[r * columns + c] = Gelu(v);
    }
  }
  Expect(k, "a dense product", expected, y, 1e-5);
  Expect(k, "a sum of rows", total, sum, 1e-5);
}

void CheckAll(const Kernels& k) {
  for (int rows : {1, 2, 9, 20}) {
    for (int depth : {1, 7, 64, 100}) {
      CheckLinear(k, rows, depth, {48, 3}, Activation::kNone, false, false, 1);
      CheckLinear(k, rows, depth, {17}, Activation::kGelu, true, false, 2);
      CheckLinear(k, rows, depth, {40, 40}, Activation::kGatedGelu, true, false, 2);
      CheckLinear(k, rows, depth, {5, 60, 2}, Activation::kNone, true, true, 2);
    }
  }
  for (int64_t n : {1, 5, 17, 70, 530}) {
    CheckAttention(k, n, 2, 16, -1, true);
    CheckAttention(k, n, 1, 20, 8, false);
    CheckAttention(k, n, 1, 32, 64, true);
  }
  // More keys than one block holds, with windows across the border of blocks.
  CheckAttention(k, 1050, 1, 8, 64, true);
  CheckAttention(k, 1100, 1, 8, -1, false);
  CheckFloats(k, 3, 50, 70);
  CheckFloats(k, 1, 9, 2);
}

}  // namespace
}  // namespace hazgate

int main() {
  int n = 0;
  for (const char* name : {"amx", "avx512vnni", "avxvnni", "avx2", "i8mm", "neon", "portable"}) {
    const hazgate::Kernels* kernels = hazgate::ChooseKernels(name);
    if (kernels == nullptr) continue;
    hazgate::CheckAll(*kernels);
    std::printf("%s: checked\n", name);
    ++n;
  }
  return hazgate::g_failures == 0 && n > 0 ? 0 : 1;
}
