// The vectors of ARM's Advanced SIMD. Activations are signed here. The including file has the
// products.
constexpr int kLanes = 4;
using F = float32x4_t;
using I = int32x4_t;

constexpr int kScoreRows = 4, kScoreVectors = 4, kMixVectors = 4;
constexpr int kLowest = -128;
constexpr bool kPairsSaturate = false;

inline F Load(const float* p) { return vld1q_f32(p); }
inline void Store(float* p, F x) { vst1q_f32(p, x); }
inline F All(float x) { return vdupq_n_f32(x); }
inline void Fma(F& c, F a, F b) { c = vfmaq_f32(c, a, b); }
inline F Min(F a, F b) { return vminq_f32(a, b); }
inline F Max(F a, F b) { return vmaxq_f32(a, b); }
inline F Abs(F a) { return vabsq_f32(a); }
inline float Sum(F a) { return vaddvq_f32(a); }
inline float Least(F a) { return vminvq_f32(a); }
inline float Largest(F a) { return vmaxvq_f32(a); }
inline I LoadI(const void* p) { return vld1q_s32(static_cast<const int32_t*>(p)); }
inline I Times(I a, int32_t b) { return vmulq_n_s32(a, b); }
inline F ToFloat(I a) { return vcvtq_f32_s32(a); }
// Return x where a < b, else y.
inline F Below(F a, F b, F x, F y) { return vbslq_f32(vcltq_f32(a, b), x, y); }
// Return 2^x with a relative error of 2e-7; 0 below 2^-126.
inline F Exp2(F x) {
  const F inside = Max(All(-126.f), x);
  const F n = vrndnq_f32(inside), f = inside - n;
  F p = All(1.535336188319500e-4f);
  p = vfmaq_f32(All(1.339887440266574e-3f), p, f);
  p = vfmaq_f32(All(9.618437357674640e-3f), p, f);
  p = vfmaq_f32(All(5.550332471162809e-2f), p, f);
  p = vfmaq_f32(All(2.402264791363012e-1f), p, f);
  p = vfmaq_f32(All(6.931472028550421e-1f), p, f);
  p = vfmaq_f32(All(1.0f), p, f);
  const I power = vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127)), 23);
  return Below(x, All(-126.f), All(0.f), p * vreinterpretq_f32_s32(power));
}

inline void Transpose(const float* from, int64_t stride, float* to) {
  for (int column = 0; column < kLanes; ++column) {
    for (int row = 0; row < kLanes; ++row) to[column * kLanes + row] = from[row * stride + column];
  }
}

// Round to nearest, ties to even, and add the zero point.
inline void StoreQuantised(uint8_t* p, F x, int zero_point) {
  const int32x4_t moved = vaddq_s32(vcvtnq_s32_f32(x), vdupq_n_s32(zero_point));
  const int16x4_t two = vqmovn_s32(moved);
  const int8x8_t bytes = vqmovn_s16(vcombine_s16(two, two));
  const int32_t four = vget_lane_s32(vreinterpret_s32_s8(bytes), 0);
  __builtin_memcpy(p, &four, 4);
}
