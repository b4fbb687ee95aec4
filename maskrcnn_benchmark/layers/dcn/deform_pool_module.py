"""Modules of deformable RoI pooling: with given offsets, with learned offsets, and with a learned mask as well."""

from __future__ import annotations

from torch import Tensor, nn

from maskrcnn_benchmark.layers.dcn.deform_pool_func import deform_roi_pooling
from maskrcnn_benchmark.layers.layout import any_layout


@any_layout
class DeformRoIPooling(nn.Module):
    """Module form of `deform_roi_pooling`."""

    def __init__(
        self,
        spatial_scale: float,
        out_size: int,
        out_channels: int,
        no_trans: bool,
        group_size: int = 1,
        part_size: int | None = None,
        sample_per_part: int = 4,
        trans_std: float = 0.0,
    ) -> None:
        super().__init__()
        self.spatial_scale = spatial_scale
        self.out_size = out_size
        self.out_channels = out_channels
        self.no_trans = no_trans
        self.group_size = group_size
        self.part_size = out_size if part_size is None else part_size
        self.sample_per_part = sample_per_part
        self.trans_std = trans_std

    def forward(self, data: Tensor, rois: Tensor, offset: Tensor) -> Tensor:
        """data: [N, out_channels * group_size^2, H, W]; rois: [K, 5]; to [K, out_channels, out_size, out_size]."""
        return self._pool(data, rois, None if self.no_trans else offset)

    def _pool(self, data: Tensor, rois: Tensor, offset: Tensor | None) -> Tensor:
        """Without an offset: at the RoI's own bins."""
        return deform_roi_pooling(
            data,
            rois,
            data.new_empty(0) if offset is None else offset,
            self.spatial_scale,
            self.out_size,
            self.out_channels,
            offset is None,
            self.group_size,
            self.part_size,
            self.sample_per_part,
            self.trans_std,
        )


@any_layout
class DeformRoIPoolingPack(DeformRoIPooling):
    """Pools once without offsets, predicts from the result one offset per bin, and pools with those.

    The last layer starts at zero, and with it every offset.
    """

    def __init__(
        self,
        spatial_scale: float,
        out_size: int,
        out_channels: int,
        no_trans: bool,
        group_size: int = 1,
        part_size: int | None = None,
        sample_per_part: int = 4,
        trans_std: float = 0.0,
        deform_fc_channels: int = 1024,
    ) -> None:
        super().__init__(
            spatial_scale, out_size, out_channels, no_trans, group_size, part_size, sample_per_part, trans_std
        )
        self.deform_fc_channels = deform_fc_channels
        if no_trans:
            return
        if self.part_size != out_size:
            raise ValueError(
                f"{type(self).__name__} predicts one offset per bin: part_size must be None or out_size = {out_size}, "
                f"got {part_size}"
            )
        last = nn.Linear(deform_fc_channels, out_size**2 * 2)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.offset_fc = nn.Sequential(
            nn.Linear(out_size**2 * out_channels, deform_fc_channels),
            nn.ReLU(inplace=True),
            nn.Linear(deform_fc_channels, deform_fc_channels),
            nn.ReLU(inplace=True),
            last,
        )

    def forward(self, data: Tensor, rois: Tensor) -> Tensor:  # type: ignore[override]  # offsets are its own
        """data: [N, out_channels * group_size^2, H, W]; rois: [K, 5]; to [K, out_channels, out_size, out_size]."""
        pooled = self._pool(data, rois, None)
        return pooled if self.no_trans else self._pool_shifted(data, rois, pooled.flatten(1))

    def _pool_shifted(self, data: Tensor, rois: Tensor, features: Tensor) -> Tensor:
        offset = self.offset_fc(features).view(-1, 2, self.out_size, self.out_size)
        return self._pool(data, rois, offset)


@any_layout
class ModulatedDeformRoIPoolingPack(DeformRoIPoolingPack):
    """`DeformRoIPoolingPack` whose bins are weighted by a mask (Zhu et al. 2018, https://arxiv.org/abs/1811.11168).

    The mask's last layer starts at zero, so that every weight starts at one half.
    """

    def __init__(
        self,
        spatial_scale: float,
        out_size: int,
        out_channels: int,
        no_trans: bool,
        group_size: int = 1,
        part_size: int | None = None,
        sample_per_part: int = 4,
        trans_std: float = 0.0,
        deform_fc_channels: int = 1024,
    ) -> None:
        super().__init__(
            spatial_scale,
            out_size,
            out_channels,
            no_trans,
            group_size,
            part_size,
            sample_per_part,
            trans_std,
            deform_fc_channels,
        )
        if no_trans:
            return
        last = nn.Linear(deform_fc_channels, out_size**2)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.mask_fc = nn.Sequential(
            nn.Linear(out_size**2 * out_channels, deform_fc_channels), nn.ReLU(inplace=True), last, nn.Sigmoid()
        )

    def _pool_shifted(self, data: Tensor, rois: Tensor, features: Tensor) -> Tensor:
        mask = self.mask_fc(features).view(-1, 1, self.out_size, self.out_size)
        return super()._pool_shifted(data, rois, features) * mask
