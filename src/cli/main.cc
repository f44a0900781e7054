#include <cstdio>

#include "lychee/version.h"

int main() {
  std::printf("lycheedecode %s\n", lychee::kVersion);
  return 0;
}
