"""``python -m i2i`` is ``i2i``: modules that lie in the current folder, beside a model perhaps, are not imported."""

import os
import sys

if sys.path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109 - pathlib is not imported yet
    del sys.path[0]

from i2i.cli import main

main()
