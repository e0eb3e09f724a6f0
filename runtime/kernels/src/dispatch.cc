// Choose the instruction set: the best that the processor and its operating system support.
#include <cstring>

#include "kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace hazgate {
namespace portable {
extern const Kernels kKernels;
}
#if defined(__x86_64__)
namespace amx {
extern const Kernels kKernels;
}
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
namespace i8mm {
extern const Kernels kKernels;
}
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

// Check that the operating system saves these registers (bits of XCR0).
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

// Linux gives the tile registers only to processes that ask for them.
bool HasAmx() {
#if defined(HAZGATE_AMX_IN_SOFTWARE)
  return HasAvx512Vnni();
#elif defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  const unsigned d = Register(7, 0, 'd');
  return HasAvx512Vnni() && Saves(0x600e6) && HasBit(d, 24) && HasBit(d, 25) &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#elif defined(__aarch64__)
#if defined(__linux__)
bool HasDotProducts() { return getauxval(AT_HWCAP) >> 20 & 1; }
bool HasMatrixProducts() { return HasDotProducts() && getauxval(AT_HWCAP2) >> 13 & 1; }
#else
bool HasDotProducts() { return true; }  // all Apple processors that run macOS on ARM have them
bool HasMatrixProducts() { return false; }
#endif
#endif

bool Always() { return true; }

struct Candidate {
  const Kernels* kernels;
  bool (*is_here)();
  // Chosen only by name: it has not yet run on a real processor.
  bool is_untried = false;
};

const Candidate kCandidates[] = {
#if defined(__x86_64__)
    {&amx::kKernels, HasAmx, true},   {&avx512vnni::kKernels, HasAvx512Vnni},
    {&avxvnni::kKernels, HasAvxVnni}, {&avx2::kKernels, HasAvx2},
#elif defined(__aarch64__)
    {&i8mm::kKernels, HasMatrixProducts},
    {&neon::kKernels, HasDotProducts},
#endif
    {&portable::kKernels, Always},
};

}  // namespace

const Kernels* ChooseKernels(const char* name) {
  for (const Candidate& candidate : kCandidates) {
    const bool is_named = name != nullptr && *name;
    if (is_named && std::strcmp(name, candidate.kernels->name) != 0) continue;
    if (!is_named && candidate.is_untried) continue;
    if (candidate.is_here()) return candidate.kernels;
  }
  return nullptr;
}

}  // namespace hazgate
