"""The steps of the heads' losses that forks build on: each one by itself, against the whole, and overridden."""

from __future__ import annotations

import pickle

import pytest
import torch

from maskrcnn_benchmark.modeling.balanced_positive_negative_sampler import BalancedPositiveNegativeSampler
from maskrcnn_benchmark.modeling.matcher import Matcher
from maskrcnn_benchmark.modeling.roi_heads.box_head.loss import FastRCNNLossComputation
from maskrcnn_benchmark.modeling.roi_heads.keypoint_head.loss import KeypointRCNNLossComputation
from maskrcnn_benchmark.modeling.roi_heads.mask_head.loss import MaskRCNNLossComputation, project_masks_on_boxes
from maskrcnn_benchmark.modeling.roi_heads.mask_head.mask_head import keep_only_positive_boxes
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask
from tests.modeling.roi_heads.test_head_losses import (
    CLASSES,
    CODER,
    LABELS,
    MATCHER,
    OBJECTS,
    SIZE,
    evaluator,
    naive_iou,
    proposals,
    target,
)
from tests.modeling.roi_heads.test_keypoint_head import three_people
from tests.modeling.test_training_step import batch, build


def naive_match(box: list[float], objects: list) -> int:
    overlaps = [naive_iou(box, o) for o in objects]
    best = max(overlaps, default=0.0)
    return overlaps.index(best) if best >= 0.5 else -2 if best >= 0.4 else -1


@pytest.mark.parametrize("objects", [3, 1, 0])
def test_box_targets(objects):
    given, truth = proposals(), target(objects)
    expected = [naive_match(box, OBJECTS[:objects]) for box in given.bbox.tolist()]
    assert len(set(expected)) == (5 if objects == 3 else 3 if objects else 1)
    matched = evaluator().match_targets_to_proposals(given, truth)
    assert matched.get_field("matched_idxs").tolist() == expected and len(matched) == len(given)
    (labels,), (offsets,) = evaluator().prepare_targets([given], [truth])
    assert labels.dtype == torch.int64 and offsets.shape == (len(given), 4)
    assert labels.tolist() == [LABELS[m] if m >= 0 else m + 1 if m == -2 else 0 for m in expected]
    for k, m in enumerate(expected):
        if m >= 0:
            assert matched.bbox[k].tolist() == OBJECTS[m] and matched.get_field("labels")[k] == LABELS[m]
            torch.testing.assert_close(offsets[k], CODER.encode(torch.tensor(OBJECTS[m]), given.bbox[k]))
    assert given.get_field("matched_idxs").tolist() == expected


def test_box_losses_are_of_what_was_drawn_last():
    loss = evaluator()
    (drawn,) = loss.subsample([proposals()], [target(3)])
    logits, deltas = torch.randn(len(drawn), CLASSES), torch.randn(len(drawn), 4 * CLASSES)
    whole = loss([logits], [deltas])
    parts = loss(list(logits.split(7)), list(deltas.split(7)))
    assert all(map(torch.equal, whole, parts))
    with pytest.raises(ValueError, match=f"for 3 proposals, but `subsample` drew {len(drawn)}"):
        loss([logits[:3]], [deltas[:3]])


def test_what_was_drawn_is_not_saved_with_the_model():
    loss = evaluator()
    before = len(pickle.dumps(loss))
    loss.subsample([proposals()], [target(3)])
    assert len(pickle.dumps(loss)) == before


def test_a_second_stage_matches_anew():
    """What another stage found, among other objects, does not stay."""
    (first,) = evaluator().subsample([proposals()], [target(3)])
    (again,) = evaluator().subsample([first], [target(1)])
    rows = {tuple(b): m for b, m in zip(again.bbox.tolist(), again.get_field("matched_idxs").tolist(), strict=True)}
    assert rows == {box: naive_match(list(box), OBJECTS[:1]) for box in rows}
    assert max(again.get_field("labels").tolist()) == LABELS[0] and first.get_field("matched_idxs").max() == 2


@pytest.mark.parametrize("mode", ["poly", "mask"])
def test_masks_on_boxes(mode):
    """A region of whole pixels at its own resolution is the bitmap, cut."""
    masks = target(3).get_field("masks").convert(mode)
    boxes = BoxList([[12.0, 10, 44, 42], [50, 16, 82, 48], [0, 40, 32, 72]], SIZE)
    cut = project_masks_on_boxes(masks, boxes, 32)
    assert cut.dtype == torch.float32 and cut.shape == (3, 32, 32)
    bitmaps = masks.get_mask_tensor()
    for k, (x1, y1, x2, y2) in enumerate(boxes.bbox.int().tolist()):
        differing = (cut[k] != bitmaps[k, y1:y2, x1:x2]).float().mean()
        assert differing < 0.05 and 0.1 < cut[k].mean() < 0.9
    with pytest.raises(ValueError, match="got 2 and 3 masks"):
        project_masks_on_boxes(masks, boxes[[0, 1]], 14)


@pytest.mark.parametrize("mode", ["poly", "mask"])
def test_mask_targets(mode):
    """By the box head's matches, by its own, and by cutting each proposal's own copy of its object's mask."""
    loss, truth = MaskRCNNLossComputation(MATCHER, 14), target(3)
    truth.add_field("masks", truth.get_field("masks").convert(mode))
    (positive,), _ = keep_only_positive_boxes(evaluator().subsample([proposals()], [truth]))
    plain = BoxList(positive.bbox, SIZE)
    (labels,), (masks,) = loss.prepare_targets([positive], [truth])
    assert labels.tolist() == positive.get_field("labels").tolist() and masks.any() and not masks.all()
    own = loss.prepare_targets([plain], [truth])
    assert torch.equal(own[0][0], labels) and torch.equal(own[1][0], masks)
    for given in (plain, positive):
        objects = loss.match_targets_to_proposals(given, truth)
        assert isinstance(objects.get_field("masks"), SegmentationMask) and torch.equal(
            objects.get_field("matched_idxs"), positive.get_field("matched_idxs")
        )
        assert torch.equal(project_masks_on_boxes(objects.get_field("masks"), given, 14), masks)
    assert len(loss.match_targets_to_proposals(plain[[]], target(0))) == 0
    with pytest.raises(ValueError, match=f"no mask, for {len(plain)} proposals"):
        loss.match_targets_to_proposals(plain, target(0))


def test_mask_loss_leaves_out_what_is_not_positive():
    loss, truth = MaskRCNNLossComputation(MATCHER, 14), [target(3), target(0)]
    drawn = evaluator().subsample([proposals(), proposals(seed=1)], truth)
    positive, kept = keep_only_positive_boxes(drawn)
    logits = torch.randn(sum(map(len, drawn)), CLASSES, 14, 14, generator=torch.Generator().manual_seed(0))
    expected = loss(positive, logits[torch.cat(kept)], truth)
    assert expected > 0
    torch.testing.assert_close(loss(drawn, logits, truth), expected)
    torch.testing.assert_close(loss([BoxList(d.bbox, SIZE) for d in drawn], logits, truth), expected)

    class PositivesAlone(MaskRCNNLossComputation):
        def prepare_targets(self, proposals, targets):
            labels, masks = super().prepare_targets(proposals, targets)
            return labels, [m[label > 0] for m, label in zip(masks, labels, strict=True)]

    torch.testing.assert_close(PositivesAlone(MATCHER, 14)(drawn, logits, truth), expected)


def keypoint_evaluator(batch: int = 1000) -> KeypointRCNNLossComputation:
    return KeypointRCNNLossComputation(Matcher(0.5, 0.5), BalancedPositiveNegativeSampler(batch, 1.0), 8)


def test_keypoint_targets():
    people = three_people()  # the first alone has visible keypoints
    shifts = torch.tensor([1.0, -2, 3, 1])
    given = BoxList(torch.cat((people.bbox[[0, 1, 2, 0]] + shifts, torch.tensor([[90.0, 85, 127, 95]]))), people.size)
    loss = keypoint_evaluator()
    objects = loss.match_targets_to_proposals(given, people)
    assert objects.get_field("matched_idxs").tolist() == [0, 1, 2, 0, -1]
    assert objects.get_field("labels").tolist() == [1, 1, 1, 1, 0]
    empty = BoxList(torch.zeros(0, 4), people.size)
    labels, keypoints = loss.prepare_targets([given, given], [people, empty])
    assert [label.tolist() for label in labels] == [[1, -1, -1, 1, 0], [0] * 5]
    everyone = people.get_field("keypoints").keypoints
    assert torch.equal(keypoints[0].keypoints[:4], everyone[[0, 1, 2, 0]])
    assert len(keypoints[1].keypoints) == 5
    chosen = loss.subsample([given[[4, 4]], given], [people, people])
    assert [c.get_field("rows").tolist() for c in chosen] == [[], [2, 5]]
    assert chosen[1].get_field("labels").tolist() == [1, 1]
    assert [len(c) for c in keypoint_evaluator(1).subsample([given, given], [people, empty])] == [1, 0]


def train(model) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return model(*batch(2, 1))


def test_a_detector_calls_what_a_fork_overrides():
    called = []

    class Boxes(FastRCNNLossComputation):
        def match_targets_to_proposals(self, proposal, target):
            called.append("match")
            return super().match_targets_to_proposals(proposal, target)

        def prepare_targets(self, proposals, targets):
            labels, offsets = super().prepare_targets(proposals, targets)
            return [torch.where(label == 2, 0, label) for label in labels], offsets

        def __call__(self, class_logits, box_regression):
            classification, box = super().__call__(class_logits, box_regression)
            return 2 * classification, box

    class Masks(MaskRCNNLossComputation):
        def prepare_targets(self, proposals, targets):
            labels, masks = super().prepare_targets(proposals, targets)
            called.append(sorted(set(torch.cat(labels).tolist())))
            return labels, masks

    model = build()
    heads = model.roi_heads
    heads["box"].loss_evaluator.__class__ = Boxes
    heads["mask"].loss_evaluator.__class__ = Masks
    losses = train(model)
    assert called == ["match", "match", [1]], "no proposal has the class 2 any more"
    heads["box"].loss_evaluator.__class__ = type("Plain", (Boxes,), {"__call__": FastRCNNLossComputation.__call__})
    torch.testing.assert_close(train(model)["loss_classifier"] * 2, losses["loss_classifier"])


def test_a_box_head_that_matches_nothing_for_the_others():
    """A fork's prepare_targets may not leave matches behind: the mask head then finds the same by itself."""

    class Upstreams(FastRCNNLossComputation):
        def prepare_targets(self, proposals, targets):
            return super().prepare_targets([p.copy_with_fields([]) for p in proposals], targets)

    model = build()
    expected = train(model)
    model.roi_heads["box"].loss_evaluator.__class__ = Upstreams
    found = train(model)
    assert expected["loss_mask"] > 0
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
