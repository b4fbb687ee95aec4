"""The native operators: loading `_C`, what PyTorch asks about each operator, and the functions that call them.

Nothing here depends on another part of the package. `layers/`, whose files forks replace, offers upstream's names over it.
Importing this package registers every operator but `efficient_non_local`, which is in layers/non_local.
"""

from . import library

if library.IS_OF_ANOTHER_COPY:
    library.use_modules_of_other_copy(__name__)
else:
    from . import (  # noqa: F401 (register the operators)
        deform_conv,
        deform_psroi,
        legacy,
        nms,
        roi_align,
        roi_pool,
        sigmoid_focal_loss,
        winograd,
    )
