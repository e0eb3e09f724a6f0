// The interface of an instruction set: packing, per-token quantisation, int8 products, attention.
//
// Every function is a pure function of its arguments. A row's result depends on that row alone: not
// on the other rows of its batch, and not on threads.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hazgate {

// The function applied to a product. kGatedGelu halves the columns: GELU(first half) x second half.
enum class Activation { kNone, kGelu, kGatedGelu };

// Rows of int8 are padded to a multiple of this many columns: one cache line, and one AMX tile row.
constexpr int kDepthStep = 64;
// Most matrices that share one quantised activation: those of query, key and value.
constexpr int kMaxMatrices = 3;

inline int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// A matrix in panels of `panel` columns: [panel][depth / 4][column][4], or groups of eight if the
// instruction takes eight. With kGatedGelu a panel holds equal numbers of columns of both halves.
struct PackedMatrix {
  int depth;         // rows of the matrix
  int padded_depth;  // a multiple of kDepthStep; the rest is zero
  int columns;
  int panel;
  int n_panels;
  Activation activation;
  // True if the sum of two neighbouring u8 x s8 products always fits into 16 bits.
  bool pairs_fit;
  int8_t* weights;
  int32_t* sums;  // per packed column
  float* scales;  // per packed column
  float* bias;    // per packed column; zeros if the matrix has none
  float* zeros;   // per packed column, for products without a bias
};

// Rows of activations in 8 bits. Each row has its own range, which includes 0:
// value = (q - zero point) x scale.
struct QuantisedRows {
  uint8_t* values;       // [rows, padded_depth]
  int32_t* zero_points;  // [rows]
  float* scales;         // [rows]; NaN if the row was not finite

  QuantisedRows from(int64_t row, int64_t stride) const {
    return {values + row * stride, zero_points + row, scales + row};
  }
};

// A norm before quantising; any of the pointers may be null.
struct Norm {
  const float* weight;   // [depth]; null: no norm
  const float* bias;     // [depth]
  const float* balance;  // [depth], multiplied in last, before quantising only
  float epsilon;
};

struct Product {
  QuantisedRows rows;
  const PackedMatrix* matrix;
  const float* bias;      // the matrix's bias, or its zeros
  const float* residual;  // [rows, output columns] or null; added last; may be the output
  float* output;          // [rows, output columns]
  int64_t row_begin, row_end;
  int panel_begin, panel_end;
};

// Queries `query_begin` to `query_end` of one text, over the whole text, for a range of heads.
struct Attention {
  const float* qkv;  // [tokens of the text, 3 x heads x width]
  const float* cos;  // [positions, width / 2] or null
  const float* sin;
  float* output;  // [tokens of the text, heads x width]
  int64_t n_tokens;
  int64_t query_begin, query_end;
  int n_heads, width;
  int head_begin, head_end;
  int64_t window;  // tokens seen on each side; negative: all
  float scale;
  float* scratch;  // attention_scratch(...) floats, aligned to 64 bytes
};

// Columns `column_begin` to `column_end` of `activation(x @ weights + bias)` in float32.
struct DenseProduct {
  const float* x;        // [rows, depth]
  const float* weights;  // [depth, columns]
  const float* bias;     // [columns] or null
  float* output;         // [rows, columns]
  int64_t rows;
  int depth, columns;
  int column_begin, column_end;
  Activation activation;  // none or GELU
};

struct Kernels {
  const char* name;
  int panel;        // columns of a panel that is not gated
  int gated_panel;  // columns of a gated panel
  void (*pack)(const int8_t* const* weights, const int* columns, int n_weights, PackedMatrix*);
  // Normalise and quantise rows. `normed`, if not null, receives the norm's result. `rest`, if not
  // null, receives the rounding error, quantised again: 16 bits as two times 8. `spare` is scratch
  // space for three rows; null if there is no norm, no balance and no rest.
  void (*quantise)(const float* x, int64_t rows, int depth, const Norm&, float* normed,
                   const QuantisedRows& result, const QuantisedRows* rest, float* spare);
  void (*multiply)(const Product&);
  // Add up rows, each after its norm; `row` is scratch space for one row.
  void (*add_rows)(const float* x, int64_t rows, int depth, const Norm&, float* row, float* sum);
  void (*multiply_dense)(const DenseProduct&);
  size_t (*attention_scratch)(int64_t n_keys, int width);
  void (*attend)(const Attention&);

  // Loops at the processor's limit, for benchmarks. The first two return the number of
  // multiplications and additions, and write their result to `sink`.
  int64_t (*dot_loop)(int64_t n, int32_t* sink);
  int64_t (*fma_loop)(int64_t n, float* sink);
  float (*read)(const float* values, int64_t n);
};

// Queries that share one preparation of keys and values.
constexpr int64_t kQueryChunk = 512;

// Compute the range of keys that the queries of `a` can see.
inline void KeyRange(const Attention& a, int64_t* begin, int64_t* end) {
  *begin = a.window < 0 || a.query_begin < a.window ? 0 : a.query_begin - a.window;
  *end = a.window < 0 || a.query_end + a.window > a.n_tokens ? a.n_tokens : a.query_end + a.window;
}

// Return the processor's best instruction set, or the one called `name`; null if it has not that.
const Kernels* ChooseKernels(const char* name);

}  // namespace hazgate
