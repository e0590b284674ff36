"""`python -m engram_tui.supervisor FOLDER`: the detached supervisor of the session whose folder is given."""

import sys

from engram_tui.supervisor.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
