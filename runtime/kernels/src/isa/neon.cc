// ARMv8.2 with dot products: Graviton2 and later, Apple, Ampere.
#include <arm_neon.h>

#include <utility>

#include "../kernels.h"

namespace hazgate::neon {
namespace {

constexpr char kName[] = "neon";
#include "neon.inl"
constexpr int kVectors = 4, kRows = 6;
constexpr int kGatedVectors = 4, kGatedRows = 6;

inline I Broadcast4(const uint8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return vdupq_n_s32(four);
}
template <bool>
inline void Dot(I& c, I a, I b) {
  c = vdotq_s32(c, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b));
}

#include "dot.inl"

}  // namespace

#include "kernels.inl"

}  // namespace hazgate::neon
