// AVX-VNNI: Alder Lake and later without AVX-512, Zen 5.
#include <immintrin.h>

#include <utility>

#include "../kernels.h"

namespace hazgate::avxvnni {
namespace {

constexpr char kName[] = "avxvnni";
#include "avx2.inl"
constexpr int kVectors = 2, kRows = 6;
constexpr int kGatedVectors = 2, kGatedRows = 6;
constexpr bool kPairsSaturate = false;

template <bool>
inline void Dot(I& c, I a, I b) {
  asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(c) : "x"(a), "x"(b));
}

#include "dot.inl"

}  // namespace

#include "kernels.inl"

}  // namespace hazgate::avxvnni
