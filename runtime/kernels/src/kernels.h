// What an instruction set offers: packing, per-token quantisation, int8 products, attention.
//
// Every function is a pure function of its arguments. A row's result depends on that row alone, and
// on nothing that differs between runs: not on which rows are computed beside it, nor on threads.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hazgate {

// What becomes of a product. kGatedGelu halves the columns: GELU(first half) x second half.
enum class Activation { kNone, kGelu, kGatedGelu };

// Rows of int8 are padded to a multiple of this many columns: a line of the cache, and what AMX
// takes.
constexpr int kDepthStep = 64;
// What one activation is multiplied with at once: a query, a key and a value.
constexpr int kMaxMatrices = 3;

inline int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// A matrix in panels of `panel` columns: [panel][depth / 4][column][4], or in eights where an
// instruction takes those. With kGatedGelu a panel holds as many columns of the first half as of
// the second.
struct PackedMatrix {
  int depth;         // rows of the matrix
  int padded_depth;  // a multiple of kDepthStep; the rest is zero
  int columns;
  int panel;
  int n_panels;
  Activation activation;
  // Whether no pair of neighbours in depth can exceed 16 bits when u8 x s8 products are added.
  bool pairs_fit;
  int8_t* weights;
  int32_t* sums;  // of each packed column
  float* scales;  // per packed column
  float* bias;    // per packed column; zeros where there is none
  float* zeros;   // as many, for who adds no bias
};

// Rows of activations in 8 bits, from the least of a row (or 0) to its greatest:
// value = (q - zero point) x scale.
struct QuantisedRows {
  uint8_t* values;       // [rows, padded_depth]
  int32_t* zero_points;  // [rows]
  float* scales;         // [rows]; not a number where a row was not finite

  QuantisedRows from(int64_t row, int64_t stride) const {
    return {values + row * stride, zero_points + row, scales + row};
  }
};

// A norm before quantising; any of the pointers may be null.
struct Norm {
  const float* weight;   // [depth]; null: no norm
  const float* bias;     // [depth]
  const float* balance;  // [depth], multiplied in last, in what is quantised only
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

// Queries `query_begin` to `query_end` of one text against the text, for some heads.
struct Attention {
  const float* qkv;  // [tokens of the text, 3 x heads x width]
  const float* cos;  // [positions, width / 2] or null
  const float* sin;
  float* output;  // [tokens of the text, heads x width]
  int64_t n_tokens;
  int64_t query_begin, query_end;
  int n_heads, width;
  int head_begin, head_end;
  int64_t window;  // tokens seen to each side; less than 0: all
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
  int panel;        // columns of a panel, unless gated
  int gated_panel;  // columns of a gated panel
  void (*pack)(const int8_t* const* weights, const int* columns, int n_weights, PackedMatrix*);
  // Writes the norm's results of each row to `normed` if it is not null, and if `rest` is not null
  // what the result leaves of each row, quantised in its turn: 16 bits in two times 8.
  void (*quantise)(const float* x, int64_t rows, int depth, const Norm&, float* normed,
                   const QuantisedRows& result, const QuantisedRows* rest);
  void (*multiply)(const Product&);
  // Adds up rows, each after its norm; `row` holds one.
  void (*add_rows)(const float* x, int64_t rows, int depth, const Norm&, float* row, float* sum);
  void (*multiply_dense)(const DenseProduct&);
  size_t (*attention_scratch)(int64_t n_keys, int width);
  void (*attend)(const Attention&);

  // What the processor can do at most, for benchmarks. Of the first two the result is how many
  // multiplications and additions they were; `sink` takes what they came to.
  int64_t (*dot_loop)(int64_t n, int32_t* sink);
  int64_t (*fma_loop)(int64_t n, float* sink);
  float (*read)(const float* values, int64_t n);
};

// Queries that share one preparation of keys and values.
constexpr int64_t kQueryChunk = 512;

// Keys that queries [begin, end) of a text can see.
inline void KeyRange(const Attention& a, int64_t* begin, int64_t* end) {
  *begin = a.window < 0 || a.query_begin < a.window ? 0 : a.query_begin - a.window;
  *end = a.window < 0 || a.query_end + a.window > a.n_tokens ? a.n_tokens : a.query_end + a.window;
}

// The best that this processor has, or what `name` says if it has that; null if it has not.
const Kernels* ChooseKernels(const char* name);

}  // namespace hazgate
