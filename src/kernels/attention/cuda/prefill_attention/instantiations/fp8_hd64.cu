#include "kernels/attention/cuda/prefill_attention/launch.cuh"

namespace lychee::attention::cuda {

template void launch_prefill_attention<PrefillTraits<DType::kF8E4M3, 64, false>>(
    const PrefillAttentionParams&, cudaStream_t);

}  // namespace lychee::attention::cuda
