// Vectors as wide as a register, and code compiled once per instruction set.
//
// A wheel has to run on every x86-64, so nothing here needs -march=native: run_vectorised<Body>(...) compiles
// Body::run<Bytes> for AVX-512, for AVX2 and for the baseline, with the Bytes of their registers, and picks one by what the
// processor reports. A vector of two registers would lie in memory between any two operations: GCC splits it only there.
#pragma once

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <type_traits>

#include "../common/host_device.h"

#if defined(__GNUC__)
#define MRB_INLINE inline __attribute__((always_inline))
#define MRB_INLINE_LAMBDA __attribute__((always_inline))  // between a lambda's parameters and its body
#else
#define MRB_INLINE inline
#define MRB_INLINE_LAMBDA
#endif

namespace maskrcnn {

#if defined(__GNUC__)
#define MRB_PREFETCH(address) __builtin_prefetch(address)
#define MRB_PREFETCH_L2(address) __builtin_prefetch(address, 0, 2)  // not into the first-level cache
template <typename T, int Bytes>
struct LanesOf {
  typedef T type __attribute__((vector_size(Bytes)));
};
#else
#define MRB_PREFETCH(address)
#define MRB_PREFETCH_L2(address)
template <typename T, int Bytes>
struct PortableLanes {
  T lane[Bytes / sizeof(T)];
  PortableLanes& operator+=(const PortableLanes& other) {
    for (size_t i = 0; i < Bytes / sizeof(T); ++i) lane[i] += other.lane[i];
    return *this;
  }
  friend PortableLanes operator*(T scalar, PortableLanes vector) {
    for (size_t i = 0; i < Bytes / sizeof(T); ++i) vector.lane[i] *= scalar;
    return vector;
  }
  friend PortableLanes operator*(PortableLanes a, const PortableLanes& b) {
    for (size_t i = 0; i < Bytes / sizeof(T); ++i) a.lane[i] *= b.lane[i];
    return a;
  }
};
template <typename T, int Bytes>
struct LanesOf {
  using type = PortableLanes<T, Bytes>;
};
#endif

// A number, or each of a vector. NaN stays NaN.
template <typename V>
MRB_INLINE V not_below_zero(const V& value) {
#if defined(__GNUC__)
  return value < V{} ? V{} : value;
#else
  if constexpr (std::is_floating_point_v<V>) {
    return value < 0 ? 0 : value;
  } else {
    V result = value;
    for (auto& lane : result.lane) lane = lane < 0 ? 0 : lane;
    return result;
  }
#endif
}

template <typename T, int Bytes>
using lanes_t = typename LanesOf<T, Bytes>::type;
template <typename T, int Bytes>
constexpr int kLanes = Bytes / sizeof(T);

// Exact conversions by integer arithmetic, because a loop of them vectorises without special instructions.
MRB_INLINE float widen(c10::BFloat16 value) {
  const uint32_t bits = static_cast<uint32_t>(value.x) << 16;
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

MRB_INLINE float widen(c10::Half value) {
  const uint32_t magnitude = value.x & 0x7fffu;
  const uint32_t special = magnitude >= 0x7c00u ? 0x7f800000u : 0u;  // infinities and NaN keep an all-ones exponent
  uint32_t bits = magnitude << 13;
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  result *= 0x1p112f;  // moves the exponent's bias from 15 to 127; right for subnormal numbers too
  std::memcpy(&bits, &result, sizeof(bits));
  bits |= special | (static_cast<uint32_t>(value.x & 0x8000u) << 16);
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

MRB_INLINE float widen(float value) { return value; }
MRB_INLINE double widen(double value) { return value; }

// A vector of type V from memory: of T itself, or of numbers that are widened.
template <typename V, typename T>
MRB_INLINE V load(const T* source) {
  V result;
  if constexpr (std::is_floating_point_v<T>) {
    std::memcpy(&result, source, sizeof(result));
  } else {
    float wide[sizeof(V) / sizeof(float)];
    for (size_t i = 0; i < sizeof(V) / sizeof(float); ++i) wide[i] = widen(source[i]);
    std::memcpy(&result, wide, sizeof(result));
  }
  return result;
}

// Rounds to nearest, to even in the middle; NaN stays NaN.
MRB_INLINE c10::BFloat16 narrow(float value, c10::BFloat16) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t result = (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded;
  return {static_cast<uint16_t>(result), c10::BFloat16::from_bits()};
}

MRB_INLINE c10::Half narrow(float value, c10::Half) { return value; }

// A vector to memory of T itself, or of narrower numbers.
template <typename V, typename T>
MRB_INLINE void store(T* target, const V& value) {
  if constexpr (std::is_floating_point_v<T>) {
    std::memcpy(target, &value, sizeof(value));
  } else {
    float wide[sizeof(V) / sizeof(float)];
    std::memcpy(wide, &value, sizeof(value));
    for (size_t i = 0; i < sizeof(V) / sizeof(float); ++i) target[i] = narrow(wide[i], T{});
  }
}

#if defined(__GNUC__) && defined(__x86_64__)
#define MRB_TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512")))
#define MRB_TARGET_AVX2 __attribute__((target("avx2,fma")))

enum class InstructionSet { kBaseline, kAvx2, kAvx512 };

// ATEN_CPU_CAPABILITY (default, avx2) holds these kernels back as it does torch's own.
inline InstructionSet instruction_set() {
  static const InstructionSet detected = [] {
    const char* variable = std::getenv("ATEN_CPU_CAPABILITY");
    const std::string_view allowed = variable == nullptr ? "" : variable;
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (!avx2 || allowed == "default") {
      return InstructionSet::kBaseline;
    }
    return avx512 && allowed != "avx2" ? InstructionSet::kAvx512 : InstructionSet::kAvx2;
  }();
  return detected;
}

template <typename Body, typename... Args>
MRB_TARGET_AVX512 void run_avx512(Args... args) {
  Body::template run<64>(args...);
}
template <typename Body, typename... Args>
MRB_TARGET_AVX2 void run_avx2(Args... args) {
  Body::template run<32>(args...);
}
template <typename Body, typename... Args>
void run_baseline(Args... args) {
  Body::template run<16>(args...);
}

// Body::run<Bytes> must be MRB_INLINE and take cheap arguments: it is inlined into each of the three.
template <typename Body, typename... Args>
void run_vectorised(Args... args) {
  switch (instruction_set()) {
    case InstructionSet::kAvx512:
      return run_avx512<Body>(args...);
    case InstructionSet::kAvx2:
      return run_avx2<Body>(args...);
    default:
      return run_baseline<Body>(args...);
  }
}
#else
template <typename Body, typename... Args>
void run_vectorised(Args... args) {
  Body::template run<16>(args...);
}
#endif

}  // namespace maskrcnn
