// AMX int8 products, for Sapphire Rapids and later; everything else is AVX-512.
#include <immintrin.h>

#include <utility>

#include "../kernels.h"

namespace hazgate::amx {
namespace {

constexpr char kName[] = "amx";
#include "avx512.inl"
constexpr int kGroup = 4;
// A tile of sums has 16 rows and 16 columns; a panel has one tile per vector.
constexpr int kVectors = 3, kRows = 16;
constexpr int kGatedVectors = 4, kGatedRows = 16;
constexpr int kTileDepth = 64;
static_assert(kDepthStep % kTileDepth == 0);

// The rows of each tile and the bytes of a row, in LDTILECFG's layout.
struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileShapes) == 64);

// The tiles: sums from 0 on, then activations and weights.
constexpr int kActivations = 4, kWeights = 5;

TileShapes ShapesOf(int rows) {
  TileShapes shapes;
  for (int tile = 0; tile <= kWeights; ++tile) {
    shapes.row_bytes[tile] = 64;
    shapes.rows[tile] = static_cast<uint8_t>(tile == kWeights ? kTileDepth / kGroup : rows);
  }
  return shapes;
}

#ifdef HAZGATE_AMX_IN_SOFTWARE
// The instructions as plain loops, for processors without AMX. Source: Intel's manual, chapter
// "Intel AMX".
thread_local TileShapes t_shapes;
thread_local uint8_t t_tiles[8][16][64];

inline void Configure(const TileShapes& shapes) { t_shapes = shapes; }
inline void Release() { t_shapes = {}; }
template <int kTile>
inline void LoadTile(const void* from, int64_t stride) {
  for (int r = 0; r < t_shapes.rows[kTile]; ++r) {
    const auto* row = static_cast<const uint8_t*>(from) + r * stride;
    __builtin_memcpy(t_tiles[kTile][r], row, t_shapes.row_bytes[kTile]);
  }
}
template <int kTile>
inline void StoreTile(void* to, int64_t stride) {
  for (int r = 0; r < t_shapes.rows[kTile]; ++r) {
    auto* row = static_cast<uint8_t*>(to) + r * stride;
    __builtin_memcpy(row, t_tiles[kTile][r], t_shapes.row_bytes[kTile]);
  }
}
// TDPBUSD.
template <int kTile>
inline void DotTiles() {
  for (int r = 0; r < t_shapes.rows[kTile]; ++r) {
    for (int k = 0; k < t_shapes.row_bytes[kActivations] / 4; ++k) {
      for (int c = 0; c < t_shapes.row_bytes[kTile] / 4; ++c) {
        int32_t sum;
        __builtin_memcpy(&sum, &t_tiles[kTile][r][4 * c], 4);
        for (int i = 0; i < 4; ++i) {
          sum += t_tiles[kActivations][r][4 * k + i] *
                 static_cast<int8_t>(t_tiles[kWeights][k][4 * c + i]);
        }
        __builtin_memcpy(&t_tiles[kTile][r][4 * c], &sum, 4);
      }
    }
  }
}
#else
inline void Configure(const TileShapes& shapes) { _tile_loadconfig(&shapes); }
inline void Release() { _tile_release(); }
// GCC's intrinsics for these are macros that accept literal numbers only.
template <int kTile>
inline void LoadTile(const void* from, int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "n"(kTile) : "memory");
}
template <int kTile>
inline void StoreTile(void* to, int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride), "n"(kTile) : "memory");
}
template <int kTile>
inline void DotTiles() {
  asm volatile("tdpbusd %%tmm%c0, %%tmm%c1, %%tmm%c2" ::"n"(kWeights), "n"(kActivations),
               "n"(kTile));
}
#endif

// See dot.inl; prefetches are per four values of depth.
template <int kR, int kPrefetch, int... kV>
inline void AddTiles(const uint8_t* a, int depth, const int8_t* b, const int8_t* next, I* c,
                     std::integer_sequence<int, kV...>) {
  constexpr int64_t kWidth = sizeof...(kV) * sizeof(I);
  Configure(ShapesOf(kR));
  (LoadTile<kV>(c + kV, kWidth), ...);
  for (int k = 0; k < depth; k += kTileDepth, b += kTileDepth / kGroup * kWidth) {
    LoadTile<kActivations>(a + k, depth);
    for (int i = 0; i < kTileDepth / kGroup * kPrefetch; ++i, next += 64) {
      __builtin_prefetch(next, 0, 2);
    }
    ((LoadTile<kWeights>(b + kV * sizeof(I), kWidth), DotTiles<kV>()), ...);
  }
  (StoreTile<kV>(c + kV, kWidth), ...);
  Release();
}

template <int kR, int kV, int kPrefetch, bool>
inline void AddProducts(const uint8_t* a, int depth, const int8_t* b, const int8_t* next,
                        I (&c)[kR][kV]) {
  static_assert(kV <= kActivations);
  constexpr std::make_integer_sequence<int, kV> vectors{};
  AddTiles<kR, kPrefetch>(a, depth, b, next, &c[0][0], vectors);
}

int64_t DotLoop(int64_t n, int32_t* sink) {
  alignas(64) uint8_t ones[16][64];
  for (auto& row : ones) {
    for (uint8_t& one : row) one = 1;
  }
  Configure(ShapesOf(16));
  LoadTile<kActivations>(ones, 64);
  LoadTile<kWeights>(ones, 64);
  LoadTile<0>(ones, 64);
  LoadTile<1>(ones, 64);
  LoadTile<2>(ones, 64);
  LoadTile<3>(ones, 64);
  for (int64_t i = 0; i < n; ++i) {
    DotTiles<0>();
    DotTiles<1>();
    DotTiles<2>();
    DotTiles<3>();
  }
  StoreTile<0>(ones, 64);
  Release();
  *sink += ones[0][0] & 1;
  return n * 4 * 16 * 16 * kTileDepth * 2;
}

}  // namespace

#include "kernels.inl"

}  // namespace hazgate::amx
