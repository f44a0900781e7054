#include "kernels/attention/cuda/prefill_attention/launch.cuh"

namespace lychee::attention::cuda {

template void launch_prefill_attention<PrefillTraits<DType::kF16, 64, true>>(
    const PrefillAttentionParams&, cudaStream_t);

}  // namespace lychee::attention::cuda
