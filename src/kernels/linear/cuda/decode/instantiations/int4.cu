#include "kernels/linear/cuda/decode/launch.cuh"

namespace lychee::linear::cuda {

template void launch_decode<FormatInt4>(const DecodeLaunch&, cudaStream_t);
template DecodeMemory decode_memory<FormatInt4>(int, int, int, int);

}  // namespace lychee::linear::cuda
