#include "kernels/linear/cuda/decode/launch.cuh"

namespace lychee::linear::cuda {

template void launch_decode<FormatInt8>(const DecodeLaunch&, cudaStream_t);

}  // namespace lychee::linear::cuda
