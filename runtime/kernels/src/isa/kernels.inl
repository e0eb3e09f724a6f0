// The kernels, written once over vectors of kLanes floats. Each instruction set includes this file
// into its own namespace after it has defined
//   kLanes, F, I: floats and int32 in one vector;
//   kVectors, kRows: a product's tile is kRows rows x kVectors vectors;
//   kGatedVectors, kGatedRows: the same for panels that hold two halves;
//   kScoreRows, kScoreVectors: a tile of attention's scores;
//   Load, Store, All, Fma, Min, Max, Abs, Sum, Least, Largest, LoadI, Times, ToFloat, Below, Exp2;
//   StoreQuantised, kLowest: rounding, shifting and clamping to the 8 bits that Dot takes;
//   Transpose: kLanes rows of kLanes floats to columns;
//   kGroup: values of one column of weights that are stored side by side;
//   AddProducts: a tile of sums of products, kR rows of 8 bits times kV vectors of columns of s8;
//   DotLoop: products at the processor's limit.
// dot.inl defines the last three for instruction sets with a dot product of four.

namespace {

// ---------------------------------------------------------------- activations

// erf by Abramowitz and Stegun 7.1.26: within 1.5e-7.
inline F Gelu(F x) {
  const F ax = Abs(x);
  const F t = All(1.f) / (ax * All(0.3275911f * 0.70710678118f) + All(1.f));
  F p = All(1.061405429f);
  p = p * t + All(-1.453152027f);
  p = p * t + All(1.421413741f);
  p = p * t + All(-0.284496736f);
  p = p * t + All(0.254829592f);
  const F e = Exp2(x * x * All(-0.5f * 1.44269504089f));
  const F tail = p * t * e * All(0.5f);  // erfc(|x| / sqrt 2) / 2
  const F scaled = x * tail;
  return Below(x, All(0.f), scaled, x - scaled);
}

inline float Exp2One(float x) {
  alignas(64) float all[kLanes];
  Store(all, Exp2(All(x)));
  return all[0];
}

inline float GeluOne(float x) {
  alignas(64) float all[kLanes];
  Store(all, Gelu(All(x)));
  return all[0];
}

// ---------------------------------------------------------------- quantising

// Quantise one row to 8 bits. A row with a value that is not finite gets NaN as its scale, so every
// product of it is NaN.
inline void QuantiseRow(const float* x, int depth, uint8_t* values, int32_t* zero_point,
                        float* scale) {
  F least = All(0.f), largest = All(0.f), poison = All(0.f);
  int k = 0;
  for (; k + kLanes <= depth; k += kLanes) {
    const F v = Load(x + k);
    least = Min(least, v);
    largest = Max(largest, v);
    poison = poison + v * All(0.f);
  }
  float low = Least(least), high = Largest(largest), bad = Sum(poison);
  for (; k < depth; ++k) {
    low = x[k] < low ? x[k] : low;
    high = x[k] > high ? x[k] : high;
    bad += x[k] * 0.f;
  }
  constexpr float kSteps = 255.f;
  // Below it the inverse overflows, and the values are all but zero.
  constexpr float kLeastRange = 1e-30f;
  const float range = high - low, inverse = range > kLeastRange ? kSteps / range : 0.f;
  *scale = range / kSteps + bad;
  // -low x inverse is in [0, 255].
  const int moved = bad == 0.f ? static_cast<int>(__builtin_nearbyintf(-low * inverse)) : 0;
  *zero_point = moved + kLowest;
  const F factor = All(inverse);
  for (k = 0; k + kLanes <= depth; k += kLanes) {
    StoreQuantised(values + k, Load(x + k) * factor, *zero_point);
  }
  if (k < depth) {
    alignas(64) float rest[kLanes] = {};
    for (int i = 0; k + i < depth; ++i) rest[i] = x[k + i];
    alignas(64) uint8_t bytes[kLanes];
    StoreQuantised(bytes, Load(rest) * factor, *zero_point);
    for (int i = 0; k + i < depth; ++i) values[k + i] = bytes[i];
  }
  // The weights behind `depth` are zero.
  for (k = depth; k < RoundUp(depth, kDepthStep); ++k) values[k] = 0;
}

// Apply layer norm to one row; `out` may be `x`.
inline void NormRow(const float* x, int depth, const Norm& norm, float* out) {
  F total = All(0.f);
  int k = 0;
  for (; k + kLanes <= depth; k += kLanes) total = total + Load(x + k);
  float sum = Sum(total);
  for (; k < depth; ++k) sum += x[k];
  const float mean = sum / depth;
  F squares = All(0.f);
  for (k = 0; k + kLanes <= depth; k += kLanes) {
    const F v = Load(x + k) - All(mean);
    squares = squares + v * v;
  }
  float variance = Sum(squares);
  for (; k < depth; ++k) variance += (x[k] - mean) * (x[k] - mean);
  const float factor = 1.f / __builtin_sqrtf(variance / depth + norm.epsilon);
  for (k = 0; k + kLanes <= depth; k += kLanes) {
    F v = (Load(x + k) - All(mean)) * All(factor) * Load(norm.weight + k);
    if (norm.bias) v = v + Load(norm.bias + k);
    Store(out + k, v);
  }
  for (; k < depth; ++k) {
    out[k] = (x[k] - mean) * factor * norm.weight[k] + (norm.bias ? norm.bias[k] : 0.f);
  }
}

void Quantise(const float* x, int64_t rows, int depth, const Norm& norm, float* normed,
              const QuantisedRows& result, const QuantisedRows* rest, float* spare) {
  const int64_t stride = RoundUp(depth, kDepthStep);
  for (int64_t row = 0; row < rows; ++row) {
    const float* from = x + row * depth;
    if (norm.weight) {
      float* to = normed ? normed + row * depth : spare;
      NormRow(from, depth, norm, to);
      from = to;
    }
    if (norm.balance) {
      float* balanced = spare + depth;
      for (int k = 0; k < depth; ++k) balanced[k] = from[k] * norm.balance[k];
      from = balanced;
    }
    const QuantisedRows one = result.from(row, stride);
    QuantiseRow(from, depth, one.values, one.zero_points, one.scales);
    if (rest) {
      float* left = spare + 2 * depth;
      for (int k = 0; k < depth; ++k) {
        const int value = kLowest ? static_cast<int8_t>(one.values[k]) : one.values[k];
        left[k] = from[k] - *one.scales * static_cast<float>(value - *one.zero_points);
      }
      const QuantisedRows other = rest->from(row, stride);
      QuantiseRow(left, depth, other.values, other.zero_points, other.scales);
    }
  }
}

// ---------------------------------------------------------------- packing

// Columns that are adjacent both in a matrix and in a panel.
struct PackedRun {
  const int8_t* from;
  int64_t stride;
  int at, columns;
};

// Pack kGroup rows of a run so that a column's values are adjacent. Return the greatest absolute
// sum of the pairs that the instruction adds in 16 bits.
int PackRows(const int8_t* const* rows, int columns, int8_t* to, int32_t* sums) {
  int widest = 0;
  for (int c = 0; c < columns; ++c) {
    int sum = 0;
#pragma GCC unroll 8
    for (int i = 0; i < kGroup; i += 2) {
      const int8_t even = rows[i][c], odd = rows[i + 1][c];
      to[kGroup * c + i] = even;
      to[kGroup * c + i + 1] = odd;
      const int pair = even + odd, width = pair < 0 ? -pair : pair;
      widest = widest > width ? widest : width;
      sum += pair;
    }
    sums[c] += sum;
  }
  return widest;
}

// Return the runs of one panel.
int RunsOf(const int8_t* const* weights, const int* columns, int n_weights, const PackedMatrix& m,
           int panel, PackedRun* runs) {
  int n = 0;
  const bool gated = m.activation == Activation::kGatedGelu;
  const int width = gated ? m.panel / 2 : m.panel;
  // The panel's columns from `at` on are one matrix's columns from `first` on.
  const auto add = [&](int w, int first, int at, int limit) {
    const int left = columns[w] - first, count = left < limit ? left : limit;
    runs[n++] = {weights[w] + first, columns[w], at, count};
    return count;
  };
  int first = panel * width;
  if (gated) {
    if (first < columns[0]) {
      add(0, first, 0, width);
      add(1, first, width, width);
    }
    return n;
  }
  int at = 0;
  for (int w = 0; w < n_weights && at < width; ++w) {
    if (first >= columns[w]) {
      first -= columns[w];
    } else {
      at += add(w, first, at, width - at);
      first = 0;
    }
  }
  return n;
}

void Pack(const int8_t* const* weights, const int* columns, int n_weights, PackedMatrix* m) {
  constexpr int kMaxPanel = 256;
  static_assert(kVectors * kLanes <= kMaxPanel && kGatedVectors * kLanes <= kMaxPanel);
  static const int8_t kNothing[kMaxPanel] = {};
  int widest = 0;
  for (int p = 0; p < m->n_panels; ++p) {
    PackedRun runs[kMaxMatrices];
    const int n_runs = RunsOf(weights, columns, n_weights, *m, p, runs);
    int8_t* to = m->weights + static_cast<int64_t>(p) * m->padded_depth * m->panel;
    for (int k = 0; k < m->depth; k += kGroup, to += kGroup * m->panel) {
      for (int r = 0; r < n_runs; ++r) {
        const PackedRun& run = runs[r];
        const int8_t* rows[kGroup];
        for (int i = 0; i < kGroup; ++i) {
          rows[i] = k + i < m->depth ? run.from + (k + i) * run.stride : kNothing;
        }
        const int width =
            PackRows(rows, run.columns, to + kGroup * run.at, m->sums + p * m->panel + run.at);
        widest = widest > width ? widest : width;
      }
    }
  }
  // 255 x 128 and its negative fit into 16 bits.
  m->pairs_fit = widest <= 128;
}

// ---------------------------------------------------------------- products

template <int kR, int kV, Activation kA, int kPrefetch, bool kExactPairs>
void Tile(const QuantisedRows& rows, const int8_t* b, const PackedMatrix& m, int first_column,
          const float* bias, const float* residual, float* out, int64_t out_stride,
          const int8_t* next) {
  alignas(64) I c[kR][kV];
#pragma GCC unroll 16
  for (int v = 0; v < kV; ++v) {
    const I sums = LoadI(m.sums + first_column + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kR; ++r) c[r][v] = Times(sums, -rows.zero_points[r]);
  }
  AddProducts<kR, kV, kPrefetch, kExactPairs>(rows.values, m.padded_depth, b, next, c);
#pragma GCC unroll 16
  for (int r = 0; r < kR; ++r) {
    const F row = All(rows.scales[r]);
    F o[kV];
#pragma GCC unroll 16
    for (int v = 0; v < kV; ++v) {
      o[v] = ToFloat(c[r][v]) * (row * Load(m.scales + first_column + v * kLanes)) +
             Load(bias + first_column + v * kLanes);
    }
    float* to = out + r * out_stride;
    const float* add = residual ? residual + r * out_stride : nullptr;
    constexpr int kOut = kA == Activation::kGatedGelu ? kV / 2 : kV;
#pragma GCC unroll 16
    for (int v = 0; v < kOut; ++v) {
      F y = o[v];
      if (kA == Activation::kGelu) y = Gelu(y);
      if (kA == Activation::kGatedGelu) y = Gelu(y) * o[kOut + v];
      if (add) y = y + Load(add + v * kLanes);
      Store(to + v * kLanes, y);
    }
  }
}

using TileFunction = void (*)(const QuantisedRows&, const int8_t*, const PackedMatrix&, int,
                              const float*, const float*, float*, int64_t, const int8_t*);

template <int kV, Activation kA, int kPrefetch, bool kExactPairs, int... kR>
TileFunction PickRows(int rows, std::integer_sequence<int, kR...>) {
  static const TileFunction table[] = {Tile<kR + 1, kV, kA, kPrefetch, kExactPairs>...};
  return table[rows - 1];
}

template <int kV, int kMaxRows, Activation kA, bool kExactPairs>
TileFunction Pick(int rows, int prefetch) {
  constexpr std::make_integer_sequence<int, kMaxRows> all{};
  return prefetch == 2   ? PickRows<kV, kA, 2, kExactPairs>(rows, all)
         : prefetch == 1 ? PickRows<kV, kA, 1, kExactPairs>(rows, all)
                         : PickRows<kV, kA, 0, kExactPairs>(rows, all);
}

template <int kV, int kMaxRows, Activation kA, bool kExactPairs>
void MultiplyTiles(const Product& p) {
  const PackedMatrix& m = *p.matrix;
  constexpr bool kGated = kA == Activation::kGatedGelu;
  const int out_panel = kGated ? m.panel / 2 : m.panel;
  const int out_columns = kGated ? m.columns / 2 : m.columns;
  const int64_t rows = p.row_end - p.row_begin;
  if (rows <= 0) return;
  const int64_t n_tiles = (rows + kMaxRows - 1) / kMaxRows;
  const int64_t panel_bytes = static_cast<int64_t>(m.padded_depth) * m.panel;
  for (int panel = p.panel_begin; panel < p.panel_end; ++panel) {
    const int8_t* b = m.weights + panel * panel_bytes;
    const int first = panel * out_panel;
    const int valid = out_columns - first < out_panel ? out_columns - first : out_panel;
    // A tile reads a panel faster than memory delivers the next, so the first tiles prefetch it:
    // one or two lines per four values of depth.
    const int lines = n_tiles <= 2 ? 2 : 1;
    const int64_t asked = static_cast<int64_t>(m.padded_depth) / 4 * 64 * lines;
    for (int64_t t = 0; t < n_tiles; ++t) {
      const int64_t from = p.row_begin + rows * t / n_tiles;
      const int n = static_cast<int>(p.row_begin + rows * (t + 1) / n_tiles - from);
      const bool is_asking = t * asked < panel_bytes && panel + 1 < m.n_panels;
      const TileFunction tile = Pick<kV, kMaxRows, kA, kExactPairs>(n, is_asking ? lines : 0);
      const QuantisedRows a = p.rows.from(from, m.padded_depth);
      const int8_t* next = b + panel_bytes + t * asked;
      const float* residual = p.residual ? p.residual + from * out_columns + first : nullptr;
      float* out = p.output + from * out_columns + first;
      if (valid == out_panel) {
        tile(a, b, m, panel * m.panel, p.bias, residual, out, out_columns, next);
        continue;
      }
      // The last panel may be wider than the matrix.
      alignas(64) float whole[kMaxRows * kV * kLanes] = {};
      alignas(64) float added[kMaxRows * kV * kLanes] = {};
      for (int r = 0; residual && r < n; ++r) {
        for (int c = 0; c < valid; ++c) added[r * out_panel + c] = residual[r * out_columns + c];
      }
      tile(a, b, m, panel * m.panel, p.bias, residual ? added : nullptr, whole, out_panel, next);
      for (int r = 0; r < n; ++r) {
        for (int c = 0; c < valid; ++c) out[r * out_columns + c] = whole[r * out_panel + c];
      }
    }
  }
}

template <bool kExactPairs>
void MultiplyAny(const Product& p) {
  switch (p.matrix->activation) {
    case Activation::kNone:
      return MultiplyTiles<kVectors, kRows, Activation::kNone, kExactPairs>(p);
    case Activation::kGelu:
      return MultiplyTiles<kVectors, kRows, Activation::kGelu, kExactPairs>(p);
    case Activation::kGatedGelu:
      return MultiplyTiles<kGatedVectors, kGatedRows, Activation::kGatedGelu, kExactPairs>(p);
  }
}

void Multiply(const Product& p) {
  if (kPairsSaturate && !p.matrix->pairs_fit) return MultiplyAny<true>(p);
  MultiplyAny<false>(p);
}

// ---------------------------------------------------------------- float32

void AddRows(const float* x, int64_t rows, int depth, const Norm& norm, float* row, float* sum) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* from = x + r * depth;
    if (norm.weight) {
      NormRow(from, depth, norm, row);
      from = row;
    }
    int k = 0;
    for (; k + kLanes <= depth; k += kLanes) Store(sum + k, Load(sum + k) + Load(from + k));
    for (; k < depth; ++k) sum[k] += from[k];
  }
}

template <int kV>
void DenseColumns(const DenseProduct& p, int64_t row, int column) {
  F c[kV];
#pragma GCC unroll 16
  for (int v = 0; v < kV; ++v) c[v] = All(0.f);
  for (int k = 0; k < p.depth; ++k) {
    const F a = All(p.x[row * p.depth + k]);
    const float* w = p.weights + static_cast<int64_t>(k) * p.columns + column;
#pragma GCC unroll 16
    for (int v = 0; v < kV; ++v) Fma(c[v], a, Load(w + v * kLanes));
  }
#pragma GCC unroll 16
  for (int v = 0; v < kV; ++v) {
    F y = c[v];
    if (p.bias) y = y + Load(p.bias + column + v * kLanes);
    if (p.activation == Activation::kGelu) y = Gelu(y);
    Store(p.output + row * p.columns + column + v * kLanes, y);
  }
}

void MultiplyDense(const DenseProduct& p) {
  constexpr int kWide = 4;
  for (int64_t row = 0; row < p.rows; ++row) {
    int column = p.column_begin;
    for (; column + kWide * kLanes <= p.column_end; column += kWide * kLanes) {
      DenseColumns<kWide>(p, row, column);
    }
    for (; column + kLanes <= p.column_end; column += kLanes) DenseColumns<1>(p, row, column);
    for (; column < p.column_end; ++column) {
      float y = 0.f;
      for (int k = 0; k < p.depth; ++k) {
        y += p.x[row * p.depth + k] * p.weights[static_cast<int64_t>(k) * p.columns + column];
      }
      if (p.bias) y += p.bias[column];
      p.output[row * p.columns + column] = p.activation == Activation::kGelu ? GeluOne(y) : y;
    }
  }
}

// ---------------------------------------------------------------- attention

constexpr int kTileRows = 2 * kScoreRows;
constexpr int kKeyBlock = kScoreVectors * kLanes;
constexpr float kNever = -1e30f;

// Queries [rows][width], keys in blocks [key / kLanes][width][kLanes], values [keys][width].
struct Prepared {
  float *queries, *keys, *values, *scores, *rows;
  int width;  // a multiple of kLanes
  int64_t score_stride;
};

// An odd number of cache lines, so that rows of scores do not share cache sets.
inline int64_t KeyStride(int64_t keys) { return RoundUp(keys, kLanes) / 16 * 16 + 16 + 16; }

// Keys per block: all queries of a chunk read one block before the next. Blocks start at multiples.
constexpr int64_t kKeysAtOnce = 1024;

inline int64_t ScoreStride(int64_t keys) {
  return KeyStride(keys < kKeysAtOnce ? keys : kKeysAtOnce);
}

inline int PaddedWidth(int width) { return static_cast<int>(RoundUp(width, kLanes)); }

size_t AttentionScratch(int64_t n_keys, int width) {
  // Room for some keys before the first visible one and after the last.
  const int64_t keys = KeyStride(n_keys + kLanes);
  const int64_t w = PaddedWidth(width);
  return static_cast<size_t>((2 * keys + kQueryChunk + kLanes) * w +
                             kTileRows * ScoreStride(n_keys + kLanes));
}

template <int kR, int kV>
inline void Scores(const float* q, const float* keys, int width, float* out, int64_t stride) {
  F c[kR][kV];
#pragma GCC unroll 16
  for (int r = 0; r < kR; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kV; ++v) c[r][v] = All(0.f);
  }
  for (int d = 0; d < width; ++d) {
    F k[kV];
#pragma GCC unroll 16
    for (int v = 0; v < kV; ++v) k[v] = Load(keys + (static_cast<int64_t>(v) * width + d) * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kR; ++r) {
      const F a = All(q[r * width + d]);
#pragma GCC unroll 16
      for (int v = 0; v < kV; ++v) Fma(c[r][v], a, k[v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kR; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kV; ++v) Store(out + r * stride + v * kLanes, c[r][v]);
  }
}

// Write the weighted sum of values to `out`, or add it to `keep` times the contents of `out`.
template <int kR, int kV>
inline void Mix(const float* weights, int64_t stride, const float* values, int width, int64_t keys,
                const float* keep, float* out, int64_t out_stride, int valid) {
  F c[kR][kV];
#pragma GCC unroll 16
  for (int r = 0; r < kR; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kV; ++v) c[r][v] = All(0.f);
  }
  for (int64_t j = 0; j < keys; ++j) {
    F b[kV];
#pragma GCC unroll 16
    for (int v = 0; v < kV; ++v) b[v] = Load(values + j * width + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kR; ++r) {
      const F a = All(weights[r * stride + j]);
#pragma GCC unroll 16
      for (int v = 0; v < kV; ++v) Fma(c[r][v], a, b[v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kR; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kV; ++v) {
      float* to = out + r * out_stride + v * kLanes;
      const int here = valid - v * kLanes;
      if (here >= kLanes) {
        Store(to, keep ? Load(to) * All(keep[r]) + c[r][v] : c[r][v]);
        continue;
      }
      alignas(64) float some[kLanes];
      Store(some, c[r][v]);
      for (int i = 0; i < here; ++i) to[i] = keep ? to[i] * keep[r] + some[i] : some[i];
    }
  }
}

template <int kR>
void MixRows(const float* weights, int64_t stride, const float* values, int width, int64_t keys,
             const float* keep, float* out, int64_t out_stride, int valid) {
  int column = 0;
  for (; column + kMixVectors * kLanes <= width; column += kMixVectors * kLanes) {
    Mix<kR, kMixVectors>(weights, stride, values + column, width, keys, keep, out + column,
                         out_stride, valid - column);
  }
  for (; column < width; column += kLanes) {
    Mix<kR, 1>(weights, stride, values + column, width, keys, keep, out + column, out_stride,
               valid - column);
  }
}

template <int kR>
void ScoreRows(const Prepared& z, const float* q, int64_t first_key, int64_t n_keys) {
  int64_t j = 0;
  for (; j + kKeyBlock <= n_keys; j += kKeyBlock) {
    Scores<kR, kScoreVectors>(q, z.keys + (first_key + j) * z.width, z.width, z.scores + j,
                              z.score_stride);
  }
  for (; j < n_keys; j += kLanes) {
    Scores<kR, 1>(q, z.keys + (first_key + j) * z.width, z.width, z.scores + j, z.score_stride);
  }
}

using ScoreFunction = void (*)(const Prepared&, const float*, int64_t, int64_t);
using MixFunction = void (*)(const float*, int64_t, const float*, int, int64_t, const float*,
                             float*, int64_t, int);

template <int... kR>
ScoreFunction PickScores(int rows, std::integer_sequence<int, kR...>) {
  static const ScoreFunction table[] = {ScoreRows<kR + 1>...};
  return table[rows - 1];
}

template <int... kR>
MixFunction PickMix(int rows, std::integer_sequence<int, kR...>) {
  static const MixFunction table[] = {MixRows<kR + 1>...};
  return table[rows - 1];
}

inline void Rotate(const float* __restrict x, const Attention& a, int64_t position, float factor,
                   float* __restrict out) {
  const int half = a.width / 2;
  if (a.cos == nullptr) {
    for (int d = 0; d < a.width; ++d) out[d] = x[d] * factor;
    return;
  }
  const float* __restrict cos = a.cos + position * half;
  const float* __restrict sin = a.sin + position * half;
  for (int d = 0; d < half; ++d) {
    const float first = x[d] * factor, second = x[d + half] * factor;
    out[d] = first * cos[d] - second * sin[d];
    out[d + half] = second * cos[d] + first * sin[d];
  }
}

// Prepare queries, keys and values of one head, from key `base` on; zeros follow the text's end.
void Prepare(const Attention& a, int head, int64_t base, int64_t end, const Prepared& z) {
  const int64_t hidden = static_cast<int64_t>(a.n_heads) * a.width;
  const float* qkv = a.qkv + head * a.width;
  const int w = z.width;
  // Softmax is computed with base 2.
  const float factor = a.scale * 1.44269504088896341f;
  for (int64_t i = a.query_begin; i < a.query_end; ++i) {
    float* q = z.queries + (i - a.query_begin) * w;
    for (int d = a.width; d < w; ++d) q[d] = 0.f;
    Rotate(qkv + i * 3 * hidden, a, i, factor, q);
  }
  for (int64_t j = 0; j < end - base; j += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      float* row = z.rows + lane * w;
      if (base + j + lane >= end) {
        for (int d = 0; d < w; ++d) row[d] = 0.f;
        continue;
      }
      const float* from = qkv + (base + j + lane) * 3 * hidden;
      for (int d = a.width; d < w; ++d) row[d] = 0.f;
      Rotate(from + hidden, a, base + j + lane, 1.f, row);
      float* v = z.values + (j + lane) * w;
      __builtin_memcpy(v, from + 2 * hidden, a.width * sizeof(float));
      for (int d = a.width; d < w; ++d) v[d] = 0.f;
    }
    for (int d = 0; d < w; d += kLanes) Transpose(z.rows + d, w, z.keys + j * w + d * kLanes);
  }
}

inline int64_t Between(int64_t x, int64_t low, int64_t high) {
  return x < low ? low : x > high ? high : x;
}

// The running softmax of a query: the greatest score so far, and the sum of two to the power of
// (score - greatest) over all scores.
struct Seen {
  float largest[kQueryChunk], sum[kQueryChunk];
};

// Attend from some queries to the keys from `low` to `high`: the first keys, or later ones.
void AttendTile(const Attention& a, const Prepared& z, int64_t base, int64_t first, int rows,
                int64_t low, int64_t high, bool is_first, float* out, Seen* seen) {
  const int64_t hidden = static_cast<int64_t>(a.n_heads) * a.width;
  const bool windowed = a.window >= 0;
  const int64_t n = high - low, padded = RoundUp(n, kLanes);
  const float* q = z.queries + (first - a.query_begin) * z.width;
  constexpr std::make_integer_sequence<int, kScoreRows> all{};
  const int upper = rows > kScoreRows ? (rows + 1) / 2 : rows, lower = rows - upper;
  PickScores(upper, all)(z, q, low - base, n);
  if (lower) {
    Prepared below = z;
    below.scores += upper * z.score_stride;
    PickScores(lower, all)(below, q + upper * z.width, low - base, n);
  }
  alignas(64) float keep[kTileRows];
  for (int r = 0; r < rows; ++r) {
    float* p = z.scores + r * z.score_stride;
    const int64_t i = first + r, at = i - a.query_begin;
    // A query may see none of these keys.
    const int64_t begin = windowed ? Between(i - a.window - low, 0, n) : 0;
    const int64_t end = windowed ? Between(i + a.window + 1 - low, 0, n) : n;
    for (int64_t j = 0; j < begin; ++j) p[j] = kNever;
    for (int64_t j = end; j < padded; ++j) p[j] = kNever;
    F greatest = Load(p);
    for (int64_t j = kLanes; j < padded; j += kLanes) greatest = Max(greatest, Load(p + j));
    float largest = Largest(greatest);
    if (!is_first && seen->largest[at] > largest) largest = seen->largest[at];
    const F m = All(largest);
    F sum = All(0.f);
    for (int64_t j = 0; j < padded; j += kLanes) {
      const F e = Exp2(Load(p + j) - m);
      Store(p + j, e);
      sum = sum + e;
    }
    keep[r] = is_first ? 0.f : Exp2One(seen->largest[at] - largest);
    seen->sum[at] = is_first ? Sum(sum) : seen->sum[at] * keep[r] + Sum(sum);
    seen->largest[at] = largest;
  }
  const float* values = z.values + (low - base) * z.width;
  const float* kept = is_first ? nullptr : keep;
  PickMix(upper, all)(z.scores, z.score_stride, values, z.width, n, kept, out, hidden, a.width);
  if (lower) {
    PickMix(lower, all)(z.scores + upper * z.score_stride, z.score_stride, values, z.width, n,
                        kept ? kept + upper : nullptr, out + upper * hidden, hidden, a.width);
  }
}

void Attend(const Attention& a) {
  int64_t begin, end;
  KeyRange(a, &begin, &end);
  // A lane holds the same keys of a text for every range of queries, so results do not change.
  const int64_t base = begin / kLanes * kLanes;
  const int width = PaddedWidth(a.width);
  const int64_t keys = KeyStride(end - base);
  Prepared z;
  z.width = width;
  z.score_stride = ScoreStride(end - base);
  z.keys = a.scratch;
  z.values = z.keys + keys * width;
  z.queries = z.values + keys * width;
  z.rows = z.queries + kQueryChunk * width;
  z.scores = z.rows + kLanes * width;
  const int64_t hidden = static_cast<int64_t>(a.n_heads) * a.width;
  const int64_t n = a.query_end - a.query_begin, n_tiles = (n + kTileRows - 1) / kTileRows;
  Seen seen;
  for (int head = a.head_begin; head < a.head_end; ++head) {
    Prepare(a, head, base, end, z);
    float* out = a.output + a.query_begin * hidden + head * a.width;
    // Keys and values of a block stay in the core's cache while all queries read them.
    for (int64_t block = begin / kKeysAtOnce; block * kKeysAtOnce < end; ++block) {
      for (int64_t t = 0; t < n_tiles; ++t) {
        const int64_t at = n * t / n_tiles, first = a.query_begin + at;
        const int rows = static_cast<int>(n * (t + 1) / n_tiles - at);
        int64_t from = 0, to = a.n_tokens;
        if (a.window >= 0) {
          from = first > a.window ? (first - a.window) / kLanes * kLanes : 0;
          to = first + rows + a.window < to ? first + rows + a.window : to;
        }
        const int64_t low = from > block * kKeysAtOnce ? from : block * kKeysAtOnce;
        const int64_t high = to < (block + 1) * kKeysAtOnce ? to : (block + 1) * kKeysAtOnce;
        if (low >= high) continue;
        AttendTile(a, z, base, first, rows, low, high, low == from, out + at * hidden, &seen);
      }
    }
    for (int64_t i = 0; i < n; ++i) {
      const float inverse = 1.f / seen.sum[i];
      for (int d = 0; d < a.width; ++d) out[i * hidden + d] *= inverse;
    }
  }
}

// ---------------------------------------------------------------- peaks

constexpr int kChains = 12;

int64_t FmaLoop(int64_t n, float* sink) {
  const int64_t operations = n * kChains * kLanes * 2;
  F c[kChains];
  const F a = All(0.999f), b = All(0.001f);
#pragma GCC unroll 16
  for (int i = 0; i < kChains; ++i) c[i] = a;
  for (; n > 0; --n) {
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) Fma(c[i], a, b);
  }
#pragma GCC unroll 16
  for (int i = 0; i < kChains; ++i) *sink += Sum(c[i]);
  return operations;
}

float Read(const float* values, int64_t n) {
  F c[4] = {All(0.f), All(0.f), All(0.f), All(0.f)};
  for (int64_t i = 0; i + 4 * kLanes <= n; i += 4 * kLanes) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) c[j] = c[j] + Load(values + i + j * kLanes);
  }
  return Sum(c[0] + c[1] + c[2] + c[3]);
}

}  // namespace

extern const Kernels kKernels;
const Kernels kKernels = {
    kName,   kVectors * kLanes, kGatedVectors * kLanes, Pack,   Quantise, Multiply,
    AddRows, MultiplyDense,     AttentionScratch,       Attend, DotLoop,  FmaLoop,
    Read,
};
