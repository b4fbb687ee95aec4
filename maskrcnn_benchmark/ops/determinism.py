"""What PyTorch asks of operators whose result varies from run to run."""

import warnings

import torch


def alert_not_deterministic(name: str) -> None:
    """Raise, or warn, as `torch.use_deterministic_algorithms` was told to; otherwise do nothing."""
    if not torch.are_deterministic_algorithms_enabled():
        return
    message = (
        f"{name} does not have a deterministic implementation, but you set "
        "'torch.use_deterministic_algorithms(True)'. Turn that off around this operation, or pass warn_only=True."
    )
    if torch.is_deterministic_algorithms_warn_only_enabled():
        warnings.warn(message, stacklevel=2)
    else:
        raise RuntimeError(message)
