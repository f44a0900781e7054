#include "kernels/attention/cuda/select_tokens/launch.cuh"

namespace lychee::attention::cuda {

template void launch_select_tokens<1>(const SelectTokensParams&, const SelectUnits&, cudaStream_t);

}  // namespace lychee::attention::cuda
