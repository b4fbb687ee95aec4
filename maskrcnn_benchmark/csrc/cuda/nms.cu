// suppress and batched_nms on CUDA; only the second waits for the device, to know the size of its result.
//
// Boxes are sorted by group and, within a group, by descending score. A first kernel marks for every box the later boxes it
// would suppress, as a matrix of bits, a block for each tile of 64 x 64 pairs. A second decides which boxes stay: a block
// for each tile of 64 boxes takes the marks of its predecessors as these are decided, so that groups are decided side by
// side, and within a group a tile waits for nothing but the bits that the one before it publishes. The matrix is made in
// slabs of rows, so that its size stays bounded; a third kernel hands a slab's decisions to the boxes after it.

#include "../common/box_iou.h"
#include "../common/nms.h"
#include "launch.h"

namespace maskrcnn {
namespace {

constexpr int kTile = 64;  // boxes per word of the bit matrix
constexpr int kWarp = 32;
constexpr int kHalves = kTile / kWarp;
constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int64_t kSlabBytes = int64_t{64} << 20;

using word_t = unsigned long long;

// A verdict: which boxes of half a tile stay, and a bit that says so. Both are one word, so they are published at once.
constexpr word_t kDecided = word_t{1} << kWarp;

struct Boxes {
  const int64_t* groups;  // [count], ascending; null: one group
  int64_t count;

  __device__ int64_t group(int64_t position) const { return groups == nullptr ? 0 : groups[position]; }
  // Of the last box of a tile.
  __device__ int64_t last_group(int64_t tile) const {
    const int64_t end = (tile + 1) * kTile;
    return group((end < count ? end : count) - 1);
  }
  // The first of the tiles `begin` to `tile` that holds a box of the first group in `tile`. There, and not before it, the
  // marks for `tile` are written.
  __device__ int64_t first_marking(int64_t begin, int64_t tile) const {
    if (groups == nullptr) {
      return begin;
    }
    const int64_t first = group(tile * kTile);
    for (int64_t end = tile; begin < end;) {
      const int64_t middle = (begin + end) / 2;
      if (last_group(middle) < first) {
        begin = middle + 1;
      } else {
        end = middle;
      }
    }
    return begin;
  }
};

// The rows of the matrix that exist at a time: those of the boxes in the tiles `begin` to `end`. marks[column tile - begin]
// [row - begin * kTile] tells which boxes of the column tile follow the row's box, are of its group and overlap it.
struct Slab {
  int64_t begin, end;
  word_t* marks;

  __host__ __device__ int64_t tiles() const { return end - begin; }
  __device__ word_t* column(int64_t tile) const { return marks + (tile - begin) * tiles() * kTile; }
};

// One thread per row. Rows of a slab reach from their own tile to the last: the i-th longest and the i-th shortest have
// together as many tiles as any such pair, and share blockIdx.y.
template <typename T>
__global__ void __launch_bounds__(kTile) mark_kernel(const T* corners, Boxes boxes, T threshold, Slab slab,
                                                     int64_t words, const word_t* removed) {
  const int64_t longest = words - slab.begin - blockIdx.y;
  const bool is_long = blockIdx.x < longest;
  const int64_t row_tile = is_long ? slab.begin + blockIdx.y : slab.end - 1 - blockIdx.y;
  const int64_t column_tile = row_tile + (is_long ? blockIdx.x : blockIdx.x - longest);
  if ((!is_long && row_tile == slab.begin + blockIdx.y) ||
      boxes.group(column_tile * kTile) > boxes.last_group(row_tile)) {
    return;
  }
  __shared__ T column_box[kTile][4];
  __shared__ T column_area[kTile];
  __shared__ int64_t column_group[kTile];
  const int64_t first_column = column_tile * kTile;
  const int columns = static_cast<int>(boxes.count - first_column < kTile ? boxes.count - first_column : kTile);
  const int lane = static_cast<int>(threadIdx.x);
  if (lane < columns) {
    const T* box = corners + 4 * (first_column + lane);
    for (int i = 0; i < 4; ++i) {
      column_box[lane][i] = box[i];
    }
    column_area[lane] = box_area(box[0], box[1], box[2], box[3]);
    column_group[lane] = boxes.group(first_column + lane);
  }
  __syncthreads();
  const int64_t row = row_tile * kTile + lane;
  if (row >= boxes.count || (removed[row_tile] >> lane & 1)) {  // a box that is gone suppresses none
    return;
  }
  const T* box = corners + 4 * row;
  const T x1 = box[0], y1 = box[1], x2 = box[2], y2 = box[3], area = box_area(x1, y1, x2, y2);
  const int64_t group = boxes.group(row);
  word_t bits = 0;
  for (int j = column_tile == row_tile ? lane + 1 : 0; j < columns; ++j) {
    const T* other = column_box[j];
    if (column_group[j] == group &&
        box_iou(x1, y1, x2, y2, area, other[0], other[1], other[2], other[3], column_area[j]) > threshold) {
      bits |= word_t{1} << j;
    }
  }
  slab.column(column_tile)[row - slab.begin * kTile] = bits;
}

// The union of the words of a warp's lanes, in each lane.
__device__ word_t unite(word_t bits) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    bits |= __shfl_xor_sync(kAllLanes, bits, distance);
  }
  return bits;
}

// Called by whole warps: a verdict, as soon as another block has published it.
__device__ word_t await(word_t* verdict) {
  for (;;) {
    const word_t seen =
        __shfl_sync(kAllLanes, threadIdx.x % kWarp == 0 ? atomicAdd(verdict, word_t{0}) : word_t{0}, 0);
    if (seen & kDecided) {
      return seen;
    }
  }
}

// A block of one thread per box for each tile of the slab. Blocks take the tiles in the order in which they start, so a tile
// only ever waits for tiles that are at work already.
//
// removed: a bit per box, which boxes of earlier slabs suppress. verdicts: [words][2]. kept: [count], by rank.
__global__ void __launch_bounds__(kTile)
    scan_kernel(Boxes boxes, Slab slab, const int64_t* rank, const word_t* removed, word_t* started, word_t* verdicts,
                bool* kept) {
  __shared__ int64_t drawn;
  __shared__ word_t diagonal[kTile];
  __shared__ word_t gone[kHalves];
  const int lane = static_cast<int>(threadIdx.x), half = lane / kWarp;
  if (lane == 0) {
    drawn = slab.begin + static_cast<int64_t>(atomicAdd(started, word_t{1}));
  }
  __syncthreads();
  const int64_t tile = drawn, row = tile * kTile + lane;
  const bool exists = row < boxes.count;
  const word_t* marks = slab.column(tile) - slab.begin * kTile;  // by row
  const word_t alive_before = ~removed[tile];
  diagonal[lane] = exists && (alive_before >> lane & 1) ? marks[row] : 0;
  word_t bits = 0;
  for (int64_t other = boxes.first_marking(slab.begin, tile); other < tile; ++other) {
    if (await(verdicts + other * kHalves + half) >> (lane % kWarp) & 1) {
      bits |= marks[other * kTile + lane];
    }
  }
  bits = unite(bits);
  if (lane % kWarp == 0) {
    gone[half] = bits;
  }
  __syncthreads();
  word_t stays = alive_before & ~(gone[0] | gone[1]);
  if (boxes.count - tile * kTile < kTile) {
    stays &= (word_t{1} << (boxes.count - tile * kTile)) - 1;
  }
  for (word_t left = stays; left != 0;) {  // every thread for itself: the same words in the same order
    const int first = __ffsll(static_cast<long long>(left)) - 1;
    stays &= ~diagonal[first];
    left = stays & ~((word_t{2} << first) - 1);
  }
  if (lane % kWarp == 0) {
    atomicAdd(verdicts + tile * kHalves + half, kDecided | (stays >> (half * kWarp) & (kDecided - 1)));
  }
  if (exists) {
    kept[rank == nullptr ? row : rank[row]] = stays >> lane & 1;
  }
}

// A block for each tile after the slab: takes over what the slab's boxes suppress there.
__global__ void __launch_bounds__(kThreads)
    sweep_kernel(Boxes boxes, Slab slab, const word_t* verdicts, word_t* removed) {
  __shared__ word_t gone[kThreads / kWarp];
  const int64_t tile = slab.end + blockIdx.x;
  const word_t* marks = slab.column(tile) - slab.begin * kTile;
  word_t bits = 0;
  // A tile before the slab's end may hold the first group in `tile` only in its last boxes.
  const int64_t first = boxes.first_marking(slab.begin, tile);
  for (int64_t row = first * kTile + threadIdx.x; row < slab.end * kTile; row += blockDim.x) {
    if (verdicts[row / kWarp] >> (row % kWarp) & 1) {
      bits |= marks[row];
    }
  }
  bits = unite(bits);
  if (threadIdx.x % kWarp == 0) {
    gone[threadIdx.x / kWarp] = bits;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int i = 1; i < kThreads / kWarp; ++i) {
      bits |= gone[i];
    }
    removed[tile] |= bits;
  }
}

template <typename T>
void keep_all(const NmsOrder& order, double iou_threshold, Tensor& kept) {
  const int64_t count = order.boxes.size(0), words = (count + kTile - 1) / kTile;
  const int64_t slab_tiles = std::clamp<int64_t>(kSlabBytes / (words * kTile * sizeof(word_t)), 1,
                                                 std::min<int64_t>(words, 65535));  // the grid's second dimension
  const int64_t slabs = (words + slab_tiles - 1) / slab_tiles;
  Tensor marks = torch::stable::new_empty(order.boxes, std::vector<int64_t>{slab_tiles * kTile * words},
                                          ScalarType::Long);
  // Of each tile which boxes are removed, and its verdicts; of each slab how many tiles were begun.
  Tensor state = torch::stable::new_zeros(order.boxes, std::vector<int64_t>{words + words * kHalves + slabs},
                                          ScalarType::Long);
  auto* removed = static_cast<word_t*>(state.mutable_data_ptr());
  word_t* verdicts = removed + words;
  word_t* started = verdicts + words * kHalves;
  const Boxes boxes{order.groups ? order.groups->const_data_ptr<int64_t>() : nullptr, count};
  const int64_t* rank = order.rank ? order.rank->const_data_ptr<int64_t>() : nullptr;
  const cudaStream_t stream = current_stream(order.boxes);
  for (int64_t begin = 0; begin < words; begin += slab_tiles, ++started) {
    const Slab slab{begin, std::min(begin + slab_tiles, words), static_cast<word_t*>(marks.mutable_data_ptr())};
    const int64_t tiles = slab.tiles(), later = words - slab.end;
    const dim3 pairs(static_cast<unsigned>(2 * (words - begin) - tiles + 1), static_cast<unsigned>((tiles + 1) / 2));
    mark_kernel<T><<<pairs, kTile, 0, stream>>>(order.boxes.const_data_ptr<T>(), boxes, static_cast<T>(iou_threshold),
                                                slab, words, removed);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
    scan_kernel<<<static_cast<unsigned>(tiles), kTile, 0, stream>>>(boxes, slab, rank, removed, started, verdicts,
                                                                    kept.mutable_data_ptr<bool>());
    STD_CUDA_KERNEL_LAUNCH_CHECK();
    if (later > 0) {
      sweep_kernel<<<static_cast<unsigned>(later), kThreads, 0, stream>>>(boxes, slab, verdicts, removed);
      STD_CUDA_KERNEL_LAUNCH_CHECK();
    }
  }
}

// Which boxes stay, [count] by rank.
Tensor keep_by_rank(const NmsOrder& order, double iou_threshold) {
  Tensor kept = torch::stable::new_empty(order.boxes, std::vector<int64_t>{order.boxes.size(0)}, ScalarType::Bool);
  if (kept.numel() == 0) {
    return kept;
  }
  if (order.boxes.scalar_type() == ScalarType::Double) {
    keep_all<double>(order, iou_threshold, kept);
  } else {
    keep_all<float>(order, iou_threshold, kept);
  }
  return kept;
}

std::tuple<Tensor, Tensor> suppress(const Tensor& boxes, const Tensor& scores, const std::optional<Tensor>& groups,
                                    double iou_threshold, int64_t /*most*/) {
  check_nms("nms", boxes, scores, groups, iou_threshold);
  const torch::stable::accelerator::DeviceGuard guard(boxes.get_device_index());
  const NmsOrder order = order_boxes(boxes, scores, groups);
  return {order.by_score, keep_by_rank(order, iou_threshold)};
}

Tensor batched_nms(const Tensor& boxes, const Tensor& scores, const std::optional<Tensor>& groups, double iou_threshold,
                   int64_t max_output) {
  check_nms("nms", boxes, scores, groups, iou_threshold);
  const torch::stable::accelerator::DeviceGuard guard(boxes.get_device_index());
  const NmsOrder order = order_boxes(boxes, scores, groups);
  return select_kept(order, keep_by_rank(order, iou_threshold), max_output);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn_benchmark, CUDA, m) {
  m.impl("batched_nms", TORCH_BOX(&batched_nms));
  m.impl("suppress", TORCH_BOX(&suppress));
}

}  // namespace maskrcnn
