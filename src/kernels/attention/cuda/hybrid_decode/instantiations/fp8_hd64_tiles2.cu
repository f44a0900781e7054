#include "kernels/attention/cuda/hybrid_decode/launch.cuh"

namespace lychee::attention::cuda {

template void launch_hybrid_decode<HybridDecodeTraits<DType::kF8E4M3, 64, 2>>(
    const HybridDecodeParams&, const DecodeWorkspace&, int, cudaStream_t);

}  // namespace lychee::attention::cuda
