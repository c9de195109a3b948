"""``python -m pilotage``, for launchers such as torchrun."""

import sys

from pilotage.cli.main import main

sys.exit(main())
