// AVX2 with FMA: Haswell and later, Zen and later. The instruction adds pairs of u8 x s8 products
// with saturation at 16 bits; if a weight matrix could saturate, products are computed in two
// parts.
#include <immintrin.h>

#include <utility>

#include "../kernels.h"

namespace hazgate::avx2 {
namespace {

constexpr char kName[] = "avx2";
#include "avx2.inl"
constexpr int kVectors = 2, kRows = 4;
constexpr int kGatedVectors = 2, kGatedRows = 4;
constexpr bool kPairsSaturate = true;

template <bool kExactPairs>
inline void Dot(I& c, I a, I b) {
  const I ones = _mm256_set1_epi16(1);
  if (!kExactPairs) {
    c = _mm256_add_epi32(c, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), ones));
    return;
  }
  // a = 2 (a >> 1) + (a & 1): 127 x 127 x 2 fits.
  const I half = _mm256_and_si256(_mm256_srli_epi16(a, 1), _mm256_set1_epi8(0x7f));
  const I odd = _mm256_and_si256(a, _mm256_set1_epi8(1));
  const I upper = _mm256_madd_epi16(_mm256_maddubs_epi16(half, b), _mm256_set1_epi16(2));
  c = _mm256_add_epi32(c, upper);
  c = _mm256_add_epi32(c, _mm256_madd_epi16(_mm256_maddubs_epi16(odd, b), ones));
}

#include "dot.inl"

}  // namespace

#include "kernels.inl"

}  // namespace hazgate::avx2
