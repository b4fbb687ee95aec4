"""`mrb reproduce`: see enl_paper/commands/reproduce.py."""

from enl_paper.commands.reproduce import main

if __name__ == "__main__":
    main()
