"""Bringing a fork of upstream (facebookresearch/maskrcnn-benchmark) over to this package: see tools/port.py.

    fork.py         where FORK is and what it holds
    upstream.py     which of its files are upstream's
    rewriting.py    dead names put right in those that are not; rules/ says which
    source.py       a file as rules see it
    tensor_kinds.py, tensor_changes.py   what tensors of a function held, and what of that changed its meaning
    torch_age.py    whether the fork was written for a torch that divides whole numbers truly
    older_names.py  names of older versions of upstream
    dead_names.py   dead names that no rule knows
    native.py       functions of the fork's C++ and CUDA sources
    assembling.py   the tree OUT, and the control: the fork's whole package over this package's operators
    importing.py    which modules import in either
    trial.py        two iterations and a test with the fork's own tools
    losses.py       the first losses beside those of the fork by itself
    report.py       OUT/PORT.md
    porting.py      all of it, in order
    apex_amp.py     what ported forks call in place of apex.amp

Importing this folder costs nothing: LibCST is an optional extra.
"""
