// Plain C++ for any processor: the fallback, and the reference for tests of the others.
#include <cmath>
#include <utility>

#include "../kernels.h"

namespace hazgate::portable {
namespace {

constexpr char kName[] = "portable";
constexpr int kLanes = 1;
using F = float;
using I = int32_t;

constexpr int kVectors = 8, kRows = 2;
constexpr int kGatedVectors = 8, kGatedRows = 2;
constexpr int kScoreRows = 2, kScoreVectors = 4, kMixVectors = 4;
constexpr int kLowest = 0;
constexpr bool kPairsSaturate = false;

inline F Load(const float* p) { return *p; }
inline void Store(float* p, F x) { *p = x; }
inline F All(float x) { return x; }
inline void Fma(F& c, F a, F b) { c += a * b; }
inline F Min(F a, F b) { return a < b ? a : b; }
inline F Max(F a, F b) { return a > b ? a : b; }
inline F Abs(F a) { return std::fabs(a); }
inline float Sum(F a) { return a; }
inline float Least(F a) { return a; }
inline float Largest(F a) { return a; }
inline I Times(I a, int32_t b) { return a * b; }
inline F ToFloat(I a) { return static_cast<float>(a); }
inline F Below(F a, F b, F x, F y) { return a < b ? x : y; }
inline F Exp2(F x) { return x < -126.f ? 0.f : std::exp2(x); }

// Four bytes in memory order, for sums and weights alike.
inline I LoadI(const void* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return four;
}
inline I Broadcast4(const uint8_t* p) { return LoadI(p); }
template <bool>
inline void Dot(I& c, I a, I b) {
  uint8_t activations[4];
  int8_t weights[4];
  __builtin_memcpy(activations, &a, 4);
  __builtin_memcpy(weights, &b, 4);
  for (int i = 0; i < 4; ++i) c += activations[i] * weights[i];
}

inline void Transpose(const float* from, int64_t, float* to) { *to = *from; }

inline void StoreQuantised(uint8_t* p, F x, int zero_point) {
  // Written so that NaN is out of range, too.
  const float bounded = x > -256.f ? (x < 256.f ? x : 256.f) : -256.f;
  const int moved = static_cast<int>(std::nearbyint(bounded)) + zero_point;
  *p = static_cast<uint8_t>(moved < 0 ? 0 : moved > 255 ? 255 : moved);
}

#include "dot.inl"

}  // namespace

#include "kernels.inl"

}  // namespace hazgate::portable
