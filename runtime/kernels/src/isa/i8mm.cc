// ARMv8.6 with int8 matrix products: Graviton3 and later, Neoverse V1, Apple M2 and later.
#include <arm_neon.h>

#include <utility>

#include "../kernels.h"

namespace hazgate::i8mm {
namespace {

constexpr char kName[] = "i8mm";
#include "neon.inl"
// Registers hold 24 sums of two rows by two columns, 4 pairs of rows and one pair of columns.
constexpr int kVectors = 3, kRows = 8;
constexpr int kGatedVectors = 4, kGatedRows = 6;

// An instruction takes eight values each of two rows and of two columns.
constexpr int kGroup = 8;

// See dot.inl; `b` is [depth / 8][kV vectors][8], and prefetches are per four values of depth.
template <int kR, int kV, int kPrefetch, bool>
inline void AddProducts(const uint8_t* a, int depth, const int8_t* b, const int8_t* next,
                        I (&c)[kR][kV]) {
  constexpr int kRowPairs = (kR + 1) / 2, kColumnPairs = kV * kLanes / 2;
  I sums[kRowPairs][kColumnPairs];
#pragma GCC unroll 16
  for (int p = 0; p < kRowPairs; ++p) {
#pragma GCC unroll 16
    for (int v = 0; v < kColumnPairs; ++v) sums[p][v] = vdupq_n_s32(0);
  }
  const auto* rows = reinterpret_cast<const int8_t*>(a);
  for (int k = 0; k < depth; k += kGroup) {
    int8x16_t activations[kRowPairs];
#pragma GCC unroll 16
    for (int p = 0; p < kRowPairs; ++p) {
      const int8_t* even = rows + 2 * p * static_cast<int64_t>(depth) + k;
      // An odd last row is paired with itself.
      const int8_t* odd = 2 * p + 1 < kR ? even + depth : even;
      activations[p] = vcombine_s8(vld1_s8(even), vld1_s8(odd));
    }
#pragma GCC unroll 4
    for (int i = 0; i < 2 * kPrefetch; ++i, next += 64) __builtin_prefetch(next, 0, 2);
#pragma GCC unroll 16
    for (int v = 0; v < kColumnPairs; ++v, b += 16) {
      const int8x16_t weights = vld1q_s8(b);
#pragma GCC unroll 16
      for (int p = 0; p < kRowPairs; ++p) {
        sums[p][v] = vmmlaq_s32(sums[p][v], activations[p], weights);
      }
    }
  }
  // Each sum holds two columns of the even row, then two of the odd row.
#pragma GCC unroll 16
  for (int r = 0; r < kR; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kV; ++v) {
      const auto first = vreinterpretq_s64_s32(sums[r / 2][2 * v]);
      const auto second = vreinterpretq_s64_s32(sums[r / 2][2 * v + 1]);
      const auto row = r % 2 ? vzip2q_s64(first, second) : vzip1q_s64(first, second);
      c[r][v] = vaddq_s32(c[r][v], vreinterpretq_s32_s64(row));
    }
  }
}

int64_t DotLoop(int64_t n, int32_t* sink) {
  constexpr int kDotChains = 12;
  const int64_t operations = n * kDotChains * 4 * kGroup * 2;
  const int8x16_t a = vdupq_n_s8(1);
  I c[kDotChains];
#pragma GCC unroll 16
  for (int i = 0; i < kDotChains; ++i) c[i] = vdupq_n_s32(0);
  for (; n > 0; --n) {
#pragma GCC unroll 16
    for (int i = 0; i < kDotChains; ++i) c[i] = vmmlaq_s32(c[i], a, a);
  }
#pragma GCC unroll 16
  for (int i = 0; i < kDotChains; ++i) *sink += vgetq_lane_s32(c[i], 0) & 1;
  return operations;
}

}  // namespace

#include "kernels.inl"

}  // namespace hazgate::i8mm
