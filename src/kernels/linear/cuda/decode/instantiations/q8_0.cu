#include "kernels/linear/cuda/decode/launch.cuh"

namespace lychee::linear::cuda {

template void launch_decode<FormatQ8_0>(const DecodeLaunch&, cudaStream_t);
template DecodeMemory decode_memory<FormatQ8_0>(int, int, int, int);

}  // namespace lychee::linear::cuda
