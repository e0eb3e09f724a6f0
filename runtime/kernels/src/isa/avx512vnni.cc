// AVX-512 with VNNI: Ice Lake and later, Zen 4 and later.
#include <immintrin.h>

#include <utility>

#include "../kernels.h"

namespace hazgate::avx512vnni {
namespace {

constexpr char kName[] = "avx512vnni";
#include "avx512.inl"
// 27 sums, 3 weights and an activation fill the 32 registers.
constexpr int kVectors = 3, kRows = 9;
constexpr int kGatedVectors = 4, kGatedRows = 6;

// In assembly for the same reason as Fma.
template <bool>
inline void Dot(I& c, I a, I b) {
  asm("vpdpbusd %2, %1, %0" : "+v"(c) : "v"(a), "v"(b));
}
inline I Broadcast4(const uint8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm512_set1_epi32(four);
}
#include "dot.inl"

}  // namespace

#include "kernels.inl"

}  // namespace hazgate::avx512vnni
