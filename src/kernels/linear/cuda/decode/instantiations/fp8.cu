#include "kernels/linear/cuda/decode/launch.cuh"

namespace lychee::linear::cuda {

template void launch_decode<FormatFp8>(const DecodeLaunch&, cudaStream_t);
template DecodeMemory decode_memory<FormatFp8>(int, int, int, int);

}  // namespace lychee::linear::cuda
