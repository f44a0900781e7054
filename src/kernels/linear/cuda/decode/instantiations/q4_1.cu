#include "kernels/linear/cuda/decode/launch.cuh"

namespace lychee::linear::cuda {

template void launch_decode<FormatQ4_1>(const DecodeLaunch&, cudaStream_t);
template DecodeMemory decode_memory<FormatQ4_1>(int, int, int, int);

}  // namespace lychee::linear::cuda
