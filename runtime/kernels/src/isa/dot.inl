// Products by an instruction that adds four of them; the including file defines Broadcast4 and Dot.
constexpr int kGroup = 4;

// Add to `c` the products of kR rows of `depth` bytes with `b` [depth / 4][kV vectors][4], and
// prefetch kPrefetch lines from `next` per four values of depth.
template <int kR, int kV, int kPrefetch, bool kExactPairs>
inline void AddProducts(const uint8_t* a, int depth, const int8_t* b, const int8_t* next,
                        I (&c)[kR][kV]) {
  for (int k = 0; k < depth; k += 4) {
    I weights[kV];
#pragma GCC unroll 16
    for (int v = 0; v < kV; ++v) weights[v] = LoadI(b + v * kLanes * 4);
    b += kV * kLanes * 4;
#pragma GCC unroll 2
    for (int i = 0; i < kPrefetch; ++i, next += 64) __builtin_prefetch(next, 0, 2);
#pragma GCC unroll 16
    for (int r = 0; r < kR; ++r) {
      const I activations = Broadcast4(a + r * static_cast<int64_t>(depth) + k);
#pragma GCC unroll 16
      for (int v = 0; v < kV; ++v) Dot<kExactPairs>(c[r][v], activations, weights[v]);
    }
  }
}

constexpr int kDotChains = 12;

int64_t DotLoop(int64_t n, int32_t* sink) {
  const int64_t operations = n * kDotChains * kLanes * 4 * 2;
  I c[kDotChains];
  alignas(64) int32_t bytes[kLanes];
  for (int i = 0; i < kLanes; ++i) bytes[i] = 0x01020304;
  const I a = LoadI(bytes), b = LoadI(bytes);
#pragma GCC unroll 16
  for (int i = 0; i < kDotChains; ++i) c[i] = a;
  for (; n > 0; --n) {
#pragma GCC unroll 16
    for (int i = 0; i < kDotChains; ++i) Dot<false>(c[i], a, b);
  }
  alignas(64) float lanes[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kDotChains; ++i) {
    Store(lanes, ToFloat(c[i]));
    *sink += static_cast<int32_t>(lanes[0]) & 1;
  }
  return operations;
}
