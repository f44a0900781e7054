#include "kernels/cpu/threads.h"

#include <omp.h>

namespace lychee::cpu {

void set_num_threads(int num_threads) {
  omp_set_num_threads(num_threads > 0 ? num_threads : omp_get_num_procs());
}

int num_threads() {
  return omp_get_max_threads();
}

}  // namespace lychee::cpu
