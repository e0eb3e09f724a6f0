#include "packed.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <new>
#include <random>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace hazgate {
namespace {

// 128 bits that stand for contents.
using Digest = std::array<uint64_t, 2>;

// SipHash-2-4 with 128 bits (Aumasson and Bernstein, 2012), keyed by a secret of the process: one
// bundle cannot be made so that its matrix is taken for another bundle's. Each part is closed by
// its length. Faster than SHA-256 by far, and no key ever leaves the process.
class Hash {
 public:
  Hash() {
    const Digest& key = Key();
    v_ = {0x736f6d6570736575 ^ key[0], 0x646f72616e646f6d ^ key[1] ^ 0xee,
          0x6c7967656e657261 ^ key[0], 0x7465646279746573 ^ key[1]};
  }

  void Add(const void* data, size_t n) {
    const auto* bytes = static_cast<const unsigned char*>(data);
    size_t left = n;
    for (; left >= 8; bytes += 8, left -= 8) {
      uint64_t word;
      std::memcpy(&word, bytes, 8);
      Word(word);
    }
    uint64_t rest = 0;
    std::memcpy(&rest, bytes, left);
    Word(rest);
    Word(n);
  }
  Digest Finish() {
    v_[2] ^= 0xee;
    Rounds(4);
    const uint64_t first = v_[0] ^ v_[1] ^ v_[2] ^ v_[3];
    v_[1] ^= 0xdd;
    Rounds(4);
    return {first, v_[0] ^ v_[1] ^ v_[2] ^ v_[3]};
  }

 private:
  static const Digest& Key() {
    static const Digest key = [] {
      std::random_device random;
      const auto word = [&] { return uint64_t{random()} << 32 | random(); };
      return Digest{word(), word()};
    }();
    return key;
  }
  void Word(uint64_t word) {
    v_[3] ^= word;
    Rounds(2);
    v_[0] ^= word;
  }
  void Rounds(int n) {
    const auto rotate = [](uint64_t x, int bits) { return x << bits | x >> (64 - bits); };
    auto& [a, b, c, d] = v_;
    for (int i = 0; i < n; ++i) {
      a += b, b = rotate(b, 13) ^ a, a = rotate(a, 32);
      c += d, d = rotate(d, 16) ^ c;
      a += d, d = rotate(d, 21) ^ a;
      c += b, b = rotate(b, 17) ^ c, c = rotate(c, 32);
    }
  }

  std::array<uint64_t, 4> v_;
};

struct Owner {
  PackedMatrix matrix{};
  ~Owner() {
    std::free(matrix.weights);
    std::free(matrix.sums);
    std::free(matrix.scales);
    std::free(matrix.bias);
    std::free(matrix.zeros);
  }
};

template <typename T>
T* Allocate(int64_t n) {
  const size_t bytes = static_cast<size_t>(RoundUp(n * static_cast<int64_t>(sizeof(T)), 64)) + 64;
  void* memory = std::aligned_alloc(64, bytes);
  if (memory == nullptr) throw std::bad_alloc();
  std::memset(memory, 0, bytes);
  return static_cast<T*>(memory);
}

std::mutex& Lock() {
  static std::mutex lock;
  return lock;
}

// One packed matrix. The thread that packs it holds `packing`; threads that want the same matrix
// wait for that lock and for no other.
struct Entry {
  std::mutex packing;
  std::weak_ptr<const PackedMatrix> matrix;
};

std::map<Digest, std::shared_ptr<Entry>>& Known() {
  static auto* known = new std::map<Digest, std::shared_ptr<Entry>>();
  return *known;
}

#if defined(__linux__)
// Check that every resident page in the range still belongs to a file and was never written to.
bool IsUnwrittenFile(uintptr_t begin, uintptr_t end, uintptr_t page) {
  std::FILE* pages = std::fopen("/proc/self/pagemap", "re");
  if (pages == nullptr) return false;
  constexpr uint64_t kPresent = 1ull << 63, kSwapped = 1ull << 62, kOfFile = 1ull << 61;
  bool is_file =
      std::fseek(pages, static_cast<long>(begin / page * sizeof(uint64_t)), SEEK_SET) == 0;
  int64_t n_present = 0;
  for (uintptr_t at = begin; is_file && at < end; at += page) {
    uint64_t entry = 0;
    is_file = std::fread(&entry, sizeof(entry), 1, pages) == 1 && !(entry & kSwapped) &&
              (!(entry & kPresent) || (entry & kOfFile));
    n_present += (entry & kPresent) != 0;
  }
  std::fclose(pages);
  // The weights have just been read, so no page at all means that pagemap cannot be trusted.
  return is_file && n_present > 0;
}

// Release the pages of a mapped file: packed weights are not read from it again, and a page that
// is needed after all comes back from the file. Leave any other memory alone.
void ReleasePages(const void* data, size_t n) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + n) / page * page;
  if (begin >= end || !IsUnwrittenFile(begin, end, page)) return;
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}
#else
void ReleasePages(const void*, size_t) {}
#endif

// Drop the entries that no thread holds or packs.
void Forget() {
  auto& known = Known();
  for (auto it = known.begin(); it != known.end();) {
    bool gone = false;
    if (it->second.use_count() == 1) {
      const std::unique_lock<std::mutex> idle(it->second->packing, std::try_to_lock);
      gone = idle && it->second->matrix.expired();
    }
    it = gone ? known.erase(it) : std::next(it);
  }
}

Digest DigestOf(const Kernels& kernels, const std::vector<StoredMatrix>& matrices,
                const float* bias, int columns, Activation activation) {
  Hash hash;
  const int64_t shape[] = {static_cast<int64_t>(activation), matrices.front().depth, columns,
                           bias != nullptr, static_cast<int64_t>(matrices.size())};
  hash.Add(shape, sizeof(shape));
  hash.Add(kernels.name, std::strlen(kernels.name));
  for (const StoredMatrix& m : matrices) {
    hash.Add(m.weights, static_cast<size_t>(m.depth) * m.columns);
    hash.Add(m.scales, sizeof(float) * m.columns);
  }
  if (bias) hash.Add(bias, sizeof(float) * columns);
  return hash.Finish();
}

std::shared_ptr<const PackedMatrix> MakePacked(const Kernels& kernels,
                                               const std::vector<StoredMatrix>& matrices,
                                               const float* bias, int columns,
                                               Activation activation) {
  const auto owner = std::make_shared<Owner>();
  PackedMatrix& m = owner->matrix;
  const bool gated = activation == Activation::kGatedGelu;
  m.depth = matrices.front().depth;
  m.padded_depth = static_cast<int>(RoundUp(m.depth, kDepthStep));
  m.columns = columns;
  m.panel = gated ? kernels.gated_panel : kernels.panel;
  m.n_panels = static_cast<int>(RoundUp(columns, m.panel) / m.panel);
  m.activation = activation;
  const int64_t packed_columns = static_cast<int64_t>(m.n_panels) * m.panel;
  m.weights = Allocate<int8_t>(packed_columns * m.padded_depth);
  m.sums = Allocate<int32_t>(packed_columns);
  m.scales = Allocate<float>(packed_columns);
  m.bias = Allocate<float>(packed_columns);
  m.zeros = Allocate<float>(packed_columns);
  std::vector<const int8_t*> weights;
  std::vector<int> widths;
  for (const StoredMatrix& stored : matrices) {
    weights.push_back(stored.weights);
    widths.push_back(stored.columns);
  }
  kernels.pack(weights.data(), widths.data(), static_cast<int>(weights.size()), &m);
  const int half = m.panel / 2;
  int first = 0;
  for (size_t i = 0; i < matrices.size(); ++i) {
    for (int c = 0; c < matrices[i].columns; ++c) {
      const int at = gated ? c / half * m.panel + static_cast<int>(i) * half + c % half : first + c;
      m.scales[at] = matrices[i].scales[c];
      if (bias) m.bias[at] = bias[first + c];
    }
    first += matrices[i].columns;
  }
  for (const StoredMatrix& stored : matrices) {
    ReleasePages(stored.weights, static_cast<size_t>(stored.depth) * stored.columns);
  }
  return {owner, &m};
}

}  // namespace

int64_t PackedMatrices() {
  const std::lock_guard<std::mutex> hold(Lock());
  Forget();
  return static_cast<int64_t>(Known().size());
}

std::shared_ptr<const PackedMatrix> Pack(const Kernels& kernels,
                                         const std::vector<StoredMatrix>& matrices,
                                         const float* bias, Activation activation) {
  int columns = 0;
  for (const StoredMatrix& m : matrices) columns += m.columns;
  const Digest digest = DigestOf(kernels, matrices, bias, columns, activation);
  std::shared_ptr<Entry> entry;
  {
    const std::lock_guard<std::mutex> hold(Lock());
    Forget();
    std::shared_ptr<Entry>& known = Known()[digest];
    if (!known) known = std::make_shared<Entry>();
    entry = known;
  }
  // Both levels of a gate open at the same time and pack in parallel.
  const std::lock_guard<std::mutex> hold(entry->packing);
  std::shared_ptr<const PackedMatrix> packed = entry->matrix.lock();
  if (!packed) {
    packed = MakePacked(kernels, matrices, bias, columns, activation);
    entry->matrix = packed;
  }
  return packed;
}

}  // namespace hazgate
