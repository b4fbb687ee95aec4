from torch import Tensor, nn

from maskrcnn_benchmark.layers.layout import any_layout


@any_layout
class GroupNorm(nn.GroupNorm):
    """Group normalisation (Wu and He 2018) of maps in any memory format.

    PyTorch's kernel for channels_last maps on the CPU takes the variance as a difference of means: with values around 30
    its results are off by half a percent. The one for contiguous maps is exact, so maps are made contiguous first.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.contiguous())
