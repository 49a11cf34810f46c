"""``python -m i2i`` is ``i2i``: modules in the current folder, which may also hold a model, are not imported."""

import os
import sys

if sys.path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109 - pathlib is not imported yet
    del sys.path[0]

from i2i.cli import main

main()
