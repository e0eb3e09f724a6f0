// The vectors of AVX2 and AVX-VNNI; the including file defines Dot.
constexpr int kLanes = 8;
using F = __m256;
using I = __m256i;

constexpr int kScoreRows = 4, kScoreVectors = 2, kMixVectors = 2;
constexpr int kLowest = 0;

inline F Load(const float* p) { return _mm256_loadu_ps(p); }
inline void Store(float* p, F x) { _mm256_storeu_ps(p, x); }
inline F All(float x) { return _mm256_set1_ps(x); }
inline void Fma(F& c, F a, F b) { c = _mm256_fmadd_ps(a, b, c); }
inline F Min(F a, F b) { return _mm256_min_ps(a, b); }
inline F Max(F a, F b) { return _mm256_max_ps(a, b); }
inline F Abs(F a) { return _mm256_andnot_ps(All(-0.f), a); }
inline I LoadI(const void* p) { return _mm256_loadu_si256(static_cast<const I*>(p)); }
inline I Times(I a, int32_t b) { return _mm256_mullo_epi32(a, _mm256_set1_epi32(b)); }
inline F ToFloat(I a) { return _mm256_cvtepi32_ps(a); }
// Return x where a < b, else y.
inline F Below(F a, F b, F x, F y) {
  return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
inline I Broadcast4(const uint8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm256_set1_epi32(four);
}
inline float Sum(F a) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline float Least(F a) {
  const __m128 four = _mm_min_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 two = _mm_min_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_min_ss(two, _mm_movehdup_ps(two)));
}
inline float Largest(F a) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// Return 2^x with a relative error of 2e-7; 0 below 2^-126.
inline F Exp2(F x) {
  // In this order NaN stays NaN.
  const F inside = Max(All(-126.f), x);
  const F n = _mm256_round_ps(inside, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const F f = inside - n;
  F p = All(1.535336188319500e-4f);
  p = _mm256_fmadd_ps(p, f, All(1.339887440266574e-3f));
  p = _mm256_fmadd_ps(p, f, All(9.618437357674640e-3f));
  p = _mm256_fmadd_ps(p, f, All(5.550332471162809e-2f));
  p = _mm256_fmadd_ps(p, f, All(2.402264791363012e-1f));
  p = _mm256_fmadd_ps(p, f, All(6.931472028550421e-1f));
  p = _mm256_fmadd_ps(p, f, All(1.0f));
  const I power =
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  return Below(x, All(-126.f), All(0.f), p * _mm256_castsi256_ps(power));
}

inline void Transpose(const float* from, int64_t stride, float* to) {
  for (int column = 0; column < kLanes; ++column) {
    for (int row = 0; row < kLanes; ++row) to[column * kLanes + row] = from[row * stride + column];
  }
}

// Round to nearest, ties to even, and add the zero point.
inline void StoreQuantised(uint8_t* p, F x, int zero_point) {
  const I moved = _mm256_add_epi32(_mm256_cvtps_epi32(x), _mm256_set1_epi32(zero_point));
  const __m128i two =
      _mm_packs_epi32(_mm256_castsi256_si128(moved), _mm256_extracti128_si256(moved, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(two, two));
}
