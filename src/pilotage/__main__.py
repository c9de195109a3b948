"""``python -m pilotage``, for launchers such as torchrun."""

import sys

from pilotage.cli import main

sys.exit(main())
