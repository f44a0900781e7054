#include "kernels/attention/cuda/prefill_attention/launch.cuh"

namespace lychee::attention::cuda {

template void launch_prefill_attention<PrefillTraits<DType::kBF16, 128, false>>(
    const PrefillAttentionParams&, cudaStream_t);

}  // namespace lychee::attention::cuda
