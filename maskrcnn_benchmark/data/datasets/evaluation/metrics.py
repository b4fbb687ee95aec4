from dataclasses import dataclass, field


@dataclass
class Metrics:
    """Results of evaluations other than COCO's, as fractions of one; NaN where nothing could be measured.

    Attributes:
        results: `results["bbox"]["AP"]`.
        per_class: AP of each class, `per_class["bbox"]["car"]`.
    """

    results: dict[str, dict[str, float]]
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
