// ARMv8.2 with dot products: Graviton2 and later, Apple, Ampere.
#include <arm_neon.h>

#include <utility>

#include "../kernels.h"

namespace hazgate::neon {
namespace {

constexpr char kName[] = "neon";
#include "neon.inl"

}  // namespace

#include "kernels.inl"

}  // namespace hazgate::neon
