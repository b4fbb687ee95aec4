// batched_nms on CUDA, without waiting for the device until the size of the result is needed.
//
// Boxes are sorted by group and, within a group, by descending score. One kernel marks for every box the later boxes it
// would suppress, as a matrix of bits; one block then walks down the matrix, a tile of 64 boxes at a time, and keeps the
// boxes that no kept one has marked. The matrix is made in slabs of rows, so that its size stays bounded.

#include "../common/box_iou.h"
#include "../common/nms.h"
#include "launch.h"

namespace maskrcnn {
namespace {

constexpr int kTile = 64;  // boxes per word of the bit matrix
constexpr int kScanThreads = 1024;
constexpr int64_t kSlabBytes = int64_t{64} << 20;

using word_t = unsigned long long;

// Group of the last box in a tile of rows. Columns beyond that group can neither be marked nor need to be read.
__device__ int64_t last_group(const int64_t* groups, int64_t first_row, int64_t count) {
  return groups[(first_row + kTile < count ? first_row + kTile : count) - 1];
}

// marks[row - slab_start][w]: which of the boxes 64 w to 64 w + 63 follow `row`, are of its group and overlap it.
// Grid: (column tiles, row tiles of the slab); one thread per row.
template <typename T>
__global__ void __launch_bounds__(kTile) mark_kernel(const T* boxes, const int64_t* groups, int64_t count,
                                                     T threshold, int64_t slab_start, int64_t words, word_t* marks) {
  const int64_t first_row = slab_start + static_cast<int64_t>(blockIdx.y) * kTile;
  const int64_t first_column = static_cast<int64_t>(blockIdx.x) * kTile;
  if (first_row >= count || first_column < first_row ||
      (groups != nullptr && groups[first_column] > last_group(groups, first_row, count))) {
    return;
  }
  __shared__ T column_box[kTile][4];
  __shared__ T column_area[kTile];
  __shared__ int64_t column_group[kTile];
  const int columns = static_cast<int>(count - first_column < kTile ? count - first_column : kTile);
  const int lane = static_cast<int>(threadIdx.x);
  if (lane < columns) {
    const T* box = boxes + 4 * (first_column + lane);
    for (int i = 0; i < 4; ++i) {
      column_box[lane][i] = box[i];
    }
    column_area[lane] = box_area(box[0], box[1], box[2], box[3]);
    column_group[lane] = groups == nullptr ? 0 : groups[first_column + lane];
  }
  __syncthreads();
  const int64_t row = first_row + lane;
  if (row >= count) {
    return;
  }
  const T* box = boxes + 4 * row;
  const T x1 = box[0], y1 = box[1], x2 = box[2], y2 = box[3], area = box_area(x1, y1, x2, y2);
  const int64_t group = groups == nullptr ? 0 : groups[row];
  word_t bits = 0;
  for (int j = first_column == first_row ? lane + 1 : 0; j < columns; ++j) {
    const T* other = column_box[j];
    if (column_group[j] == group &&
        box_iou(x1, y1, x2, y2, area, other[0], other[1], other[2], other[3], column_area[j]) > threshold) {
      bits |= word_t{1} << j;
    }
  }
  marks[(row - slab_start) * words + blockIdx.x] = bits;
}

// Launched with one block. removed: one bit per box, carried from slab to slab. kept: [count] by rank.
__global__ void __launch_bounds__(kScanThreads)
    scan_kernel(const word_t* marks, const int64_t* groups, const int64_t* rank, int64_t count, int64_t slab_start,
                int64_t slab_end, int64_t words, word_t* removed, bool* kept) {
  __shared__ word_t diagonal[kTile];
  __shared__ word_t keep;
  for (int64_t first = slab_start; first < slab_end; first += kTile) {
    const int64_t tile = first / kTile;
    const word_t* rows = marks + (first - slab_start) * words;
    const int size = static_cast<int>(count - first < kTile ? count - first : kTile);
    if (threadIdx.x < size) {
      diagonal[threadIdx.x] = rows[threadIdx.x * words + tile];
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      word_t alive = ~removed[tile];
      if (size < kTile) {
        alive &= (word_t{1} << size) - 1;
      }
      for (int i = 0; i < size; ++i) {
        if (alive >> i & 1) {
          alive &= ~diagonal[i];
        }
      }
      keep = alive;
    }
    __syncthreads();
    if (threadIdx.x < size) {
      const int64_t position = first + threadIdx.x;
      kept[rank == nullptr ? position : rank[position]] = keep >> threadIdx.x & 1;
    }
    const int64_t group = groups == nullptr ? 0 : last_group(groups, first, count);
    for (int64_t word = tile + 1 + threadIdx.x; word < words; word += blockDim.x) {
      if (groups != nullptr && groups[word * kTile] > group) {
        break;
      }
      word_t bits = removed[word];
      for (word_t left = keep; left != 0; left &= left - 1) {
        bits |= rows[(__ffsll(static_cast<long long>(left)) - 1) * words + word];
      }
      removed[word] = bits;
    }
    __syncthreads();  // `keep` and `removed` are read again by the next tile
  }
}

template <typename T>
void keep_all(const NmsOrder& order, double iou_threshold, Tensor& kept) {
  const int64_t count = order.boxes.size(0), words = (count + kTile - 1) / kTile;
  const int64_t slab_tiles = std::clamp<int64_t>(kSlabBytes / (words * kTile * sizeof(word_t)), 1,
                                                 std::min<int64_t>(words, 65535));  // the grid's second dimension
  Tensor marks = torch::stable::new_empty(order.boxes, std::vector<int64_t>{slab_tiles * kTile * words},
                                          ScalarType::Long);
  Tensor removed = torch::stable::new_zeros(order.boxes, std::vector<int64_t>{words}, ScalarType::Long);
  auto* mark_data = static_cast<word_t*>(marks.mutable_data_ptr());
  auto* removed_data = static_cast<word_t*>(removed.mutable_data_ptr());
  const int64_t* groups = order.groups ? order.groups->const_data_ptr<int64_t>() : nullptr;
  const int64_t* rank = order.rank ? order.rank->const_data_ptr<int64_t>() : nullptr;
  const cudaStream_t stream = current_stream(order.boxes);
  for (int64_t start = 0; start < count; start += slab_tiles * kTile) {
    const int64_t end = std::min(start + slab_tiles * kTile, count);
    const dim3 grid(static_cast<unsigned>(words), static_cast<unsigned>((end - start + kTile - 1) / kTile));
    mark_kernel<T><<<grid, kTile, 0, stream>>>(order.boxes.const_data_ptr<T>(), groups, count,
                                               static_cast<T>(iou_threshold), start, words, mark_data);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
    scan_kernel<<<1, kScanThreads, 0, stream>>>(mark_data, groups, rank, count, start, end, words, removed_data,
                                                kept.mutable_data_ptr<bool>());
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  }
}

Tensor batched_nms(const Tensor& boxes, const Tensor& scores, const std::optional<Tensor>& groups, double iou_threshold,
                   int64_t max_output) {
  check_nms(boxes, scores, groups, iou_threshold);
  const torch::stable::accelerator::DeviceGuard guard(boxes.get_device_index());
  const int64_t count = boxes.size(0);
  if (count == 0) {
    return torch::stable::new_empty(boxes, std::vector<int64_t>{0}, ScalarType::Long);
  }
  const NmsOrder order = order_boxes(boxes, scores, groups);
  Tensor kept = torch::stable::new_empty(boxes, std::vector<int64_t>{count}, ScalarType::Bool);
  if (order.boxes.scalar_type() == ScalarType::Double) {
    keep_all<double>(order, iou_threshold, kept);
  } else {
    keep_all<float>(order, iou_threshold, kept);
  }
  return select_kept(order, kept, max_output);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn_benchmark, CUDA, m) {
  m.impl("batched_nms", TORCH_BOX(&batched_nms));
}

}  // namespace maskrcnn
