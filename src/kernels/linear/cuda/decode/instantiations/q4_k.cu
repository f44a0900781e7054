#include "kernels/linear/cuda/decode/launch.cuh"

namespace lychee::linear::cuda {

template void launch_decode<FormatQ4_K>(const DecodeLaunch&, cudaStream_t);
template DecodeMemory decode_memory<FormatQ4_K>(int, int, int, int);

}  // namespace lychee::linear::cuda
