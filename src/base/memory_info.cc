#include "base/memory_info.h"

#include <sys/resource.h>

#include <fstream>
#include <string>

namespace lychee {

int64_t available_memory_bytes() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  std::string unit;
  int64_t kibibytes = 0;
  while (file >> key >> kibibytes >> unit) {
    if (key == "MemAvailable:") {
      return kibibytes * 1024;
    }
    if (unit != "kB") {
      break;
    }
  }
  return 0;
}

int64_t peak_memory_bytes() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

}  // namespace lychee
