"""Makes `python3 bench/suite` run program.py, whose head comment says how to use it."""

import sys

from program import main

sys.exit(main(sys.argv[1:]))
