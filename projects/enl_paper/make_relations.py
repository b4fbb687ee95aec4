"""`mrb scenes`: see enl_paper/commands/scenes.py."""

import sys

from enl_paper.commands.scenes import main

if __name__ == "__main__":
    sys.exit(main())
