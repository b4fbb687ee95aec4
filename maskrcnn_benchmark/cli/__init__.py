"""The command line: `mrb COMMAND`, or `python -m maskrcnn_benchmark COMMAND`; commands.py lists the commands, a module for each.

The programs of tools/ call the same modules under upstream's names.
"""
