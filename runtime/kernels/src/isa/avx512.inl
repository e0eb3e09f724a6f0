// The vectors of AVX-512, for its own dot products and for AMX; the including file has the
// products.
constexpr int kLanes = 16;
using F = __m512;
using I = __m512i;

constexpr int kScoreRows = 6, kScoreVectors = 4, kMixVectors = 4;
constexpr int kLowest = 0;
constexpr bool kPairsSaturate = false;

inline F Load(const float* p) { return _mm512_loadu_ps(p); }
inline void Store(float* p, F x) { _mm512_storeu_ps(p, x); }
inline F All(float x) { return _mm512_set1_ps(x); }
inline F Min(F a, F b) { return _mm512_min_ps(a, b); }
inline F Max(F a, F b) { return _mm512_max_ps(a, b); }
inline F Abs(F a) { return _mm512_abs_ps(a); }
inline float Sum(F a) { return _mm512_reduce_add_ps(a); }
inline float Least(F a) { return _mm512_reduce_min_ps(a); }
inline float Largest(F a) { return _mm512_reduce_max_ps(a); }
inline I LoadI(const void* p) { return _mm512_loadu_si512(p); }
inline I Times(I a, int32_t b) { return _mm512_mullo_epi32(a, _mm512_set1_epi32(b)); }
inline F ToFloat(I a) { return _mm512_cvtepi32_ps(a); }
// Return x where a < b, else y.
inline F Below(F a, F b, F x, F y) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}

// Compilers copy and spill sums around the intrinsic; operands tied to registers prevent that.
inline void Fma(F& c, F a, F b) { asm("vfmadd231ps %2, %1, %0" : "+v"(c) : "v"(a), "v"(b)); }

// Return 2^x with a relative error of 2e-7; 0 for very negative x.
inline F Exp2(F x) {
  const F n = _mm512_roundscale_ps(x, 8), f = x - n;
  F p = All(1.535336188319500e-4f);
  p = _mm512_fmadd_ps(p, f, All(1.339887440266574e-3f));
  p = _mm512_fmadd_ps(p, f, All(9.618437357674640e-3f));
  p = _mm512_fmadd_ps(p, f, All(5.550332471162809e-2f));
  p = _mm512_fmadd_ps(p, f, All(2.402264791363012e-1f));
  p = _mm512_fmadd_ps(p, f, All(6.931472028550421e-1f));
  p = _mm512_fmadd_ps(p, f, All(1.0f));
  return _mm512_scalef_ps(p, n);
}

inline void Transpose(const float* from, int64_t stride, float* to) {
  F a[16], b[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) a[i] = Load(from + i * stride);
  // Pairs of rows, then fours, within every quarter of a register.
#pragma GCC unroll 16
  for (int i = 0; i < 16; i += 2) {
    b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
    b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; i += 4) {
    for (int h = 0; h < 2; ++h) {
      const __m512d low = _mm512_castps_pd(b[i + h]), high = _mm512_castps_pd(b[i + h + 2]);
      a[i + 2 * h] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
      a[i + 2 * h + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
    }
  }
  // Quarter q of a[4 g + c] holds column 4 q + c of rows 4 g to 4 g + 3.
#pragma GCC unroll 16
  for (int c = 0; c < 4; ++c) {
    const F even01 = _mm512_shuffle_f32x4(a[c], a[4 + c], 0x88);
    const F odd01 = _mm512_shuffle_f32x4(a[c], a[4 + c], 0xdd);
    const F even23 = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0x88);
    const F odd23 = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0xdd);
    Store(to + c * 16, _mm512_shuffle_f32x4(even01, even23, 0x88));
    Store(to + (8 + c) * 16, _mm512_shuffle_f32x4(even01, even23, 0xdd));
    Store(to + (4 + c) * 16, _mm512_shuffle_f32x4(odd01, odd23, 0x88));
    Store(to + (12 + c) * 16, _mm512_shuffle_f32x4(odd01, odd23, 0xdd));
  }
}

// Round to nearest, ties to even, and add the zero point.
inline void StoreQuantised(uint8_t* p, F x, int zero_point) {
  const I moved = _mm512_add_epi32(_mm512_cvtps_epi32(x), _mm512_set1_epi32(zero_point));
  const I positive = _mm512_max_epi32(moved, _mm512_setzero_si512());
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtusepi32_epi8(positive));
}
