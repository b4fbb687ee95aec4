// Vectors of sixteen floats (eight doubles), and code compiled once per instruction set.
//
// A wheel has to run on every x86-64, so nothing here needs -march=native: run_vectorised<Body>(...) compiles Body::run
// for AVX-512, for AVX2 and for the baseline, and picks one by what the processor reports.
#pragma once

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

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
// GCC and Clang split these 64 bytes over as many registers as the instruction set needs.
template <typename T>
struct LanesOf {
  typedef T type __attribute__((vector_size(64)));
};
#else
template <typename T>
struct PortableLanes {
  T lane[64 / sizeof(T)];
  PortableLanes& operator+=(const PortableLanes& other) {
    for (size_t i = 0; i < 64 / sizeof(T); ++i) lane[i] += other.lane[i];
    return *this;
  }
  friend PortableLanes operator*(T scalar, PortableLanes vector) {
    for (size_t i = 0; i < 64 / sizeof(T); ++i) vector.lane[i] *= scalar;
    return vector;
  }
  friend PortableLanes operator*(PortableLanes a, const PortableLanes& b) {
    for (size_t i = 0; i < 64 / sizeof(T); ++i) a.lane[i] *= b.lane[i];
    return a;
  }
};
template <typename T>
struct LanesOf {
  using type = PortableLanes<T>;
};
#endif

template <typename T>
using lanes_t = typename LanesOf<T>::type;
template <typename T>
constexpr int kLanes = 64 / sizeof(T);

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

template <typename T>
MRB_INLINE lanes_t<T> load(const T* source) {
  lanes_t<T> result;
  std::memcpy(&result, source, sizeof(result));
  return result;
}

template <typename Reduced>
MRB_INLINE lanes_t<float> load_reduced(const Reduced* source) {
  float wide[kLanes<float>];
  for (int i = 0; i < kLanes<float>; ++i) wide[i] = widen(source[i]);
  return load(wide);
}
MRB_INLINE lanes_t<float> load(const c10::Half* source) { return load_reduced(source); }
MRB_INLINE lanes_t<float> load(const c10::BFloat16* source) { return load_reduced(source); }

template <typename T>
MRB_INLINE void store(T* target, const lanes_t<T>& value) {
  std::memcpy(target, &value, sizeof(value));
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
  Body::run(args...);
}
template <typename Body, typename... Args>
MRB_TARGET_AVX2 void run_avx2(Args... args) {
  Body::run(args...);
}
template <typename Body, typename... Args>
void run_baseline(Args... args) {
  Body::run(args...);
}

// Body::run must be MRB_INLINE and take cheap arguments: it is inlined into each of the three.
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
  Body::run(args...);
}
#endif

}  // namespace maskrcnn
