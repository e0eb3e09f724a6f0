// Which instruction set runs: the best that the processor and its operating system have.
#include <cstring>

#include "kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace hazgate {
namespace portable {
extern const Kernels kKernels;
}
#if defined(__x86_64__)
namespace avx512vnni {
extern const Kernels kKernels;
}
namespace avxvnni {
extern const Kernels kKernels;
}
namespace avx2 {
extern const Kernels kKernels;
}
#elif defined(__aarch64__)
namespace neon {
extern const Kernels kKernels;
}
#endif

namespace {

#if defined(__x86_64__)
bool HasBit(unsigned value, int bit) { return value >> bit & 1; }

unsigned Register(unsigned leaf, unsigned subleaf, char which) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(leaf, subleaf, &a, &b, &c, &d)) return 0;
  return which == 'a' ? a : which == 'b' ? b : which == 'c' ? c : d;
}

// Registers that the operating system saves: bits of XCR0.
bool Saves(unsigned bits) {
  if (!HasBit(Register(1, 0, 'c'), 27)) return false;
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & bits) == bits;
}

bool HasAvx2() {
  return Saves(0x6) && HasBit(Register(7, 0, 'b'), 5) && HasBit(Register(1, 0, 'c'), 12);
}
bool HasAvxVnni() { return HasAvx2() && HasBit(Register(7, 1, 'a'), 4); }
bool HasAvx512Vnni() {
  const unsigned b = Register(7, 0, 'b');
  // Foundation, DQ, BW, VL.
  return HasAvx2() && Saves(0xe6) && HasBit(b, 16) && HasBit(b, 17) && HasBit(b, 30) &&
         HasBit(b, 31) && HasBit(Register(7, 0, 'c'), 11);
}
#elif defined(__aarch64__)
bool HasDotProducts() {
#if defined(__linux__)
  constexpr unsigned long kHwcapDotProducts = 1ul << 20;
  return getauxval(AT_HWCAP) & kHwcapDotProducts;
#else
  return true;  // every Apple processor that runs macOS on ARM
#endif
}
#endif

bool Always() { return true; }

struct Candidate {
  const Kernels* kernels;
  bool (*is_here)();
};

const Candidate kCandidates[] = {
#if defined(__x86_64__)
    {&avx512vnni::kKernels, HasAvx512Vnni},
    {&avxvnni::kKernels, HasAvxVnni},
    {&avx2::kKernels, HasAvx2},
#elif defined(__aarch64__)
    {&neon::kKernels, HasDotProducts},
#endif
    {&portable::kKernels, Always},
};

}  // namespace

const Kernels* ChooseKernels(const char* name) {
  for (const Candidate& candidate : kCandidates) {
    if (name != nullptr && *name && std::strcmp(name, candidate.kernels->name) != 0) continue;
    if (candidate.is_here()) return candidate.kernels;
  }
  return nullptr;
}

}  // namespace hazgate
