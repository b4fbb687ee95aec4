"""The categories of a COCO file."""

from collections.abc import Collection
from typing import Any

from maskrcnn_benchmark.data.datasets.coco_entries import ids_of_one_kind, matching_id
from maskrcnn_benchmark.utils.wording import odd_name

NO_CLASS = ("background", "placeholder", "none")  # names of what is no class


def category_entries(categories: Any, name: str) -> list[dict]:
    """The "categories" of the file called `name`, with ids of one kind and names as text, each id and name once.

    Raises ValueError, also for one id with several names.
    """
    are_named = isinstance(categories, list) and all(
        isinstance(c, dict) and c.get("id") is not None and isinstance(c.get("name"), (str, int, float))
        for c in categories
    )
    if not are_named:
        raise ValueError(f'{name} is not in COCO format: every entry of "categories" must have an "id" and a "name".')
    try:
        ids = ids_of_one_kind([c["id"] for c in categories], "categories")
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    for id, category in zip(ids, categories, strict=True):
        if odd := odd_name([str(category["name"])]):
            raise ValueError(
                f"{name}: the name of category {id!r}, {odd}, holds half of a character (a lone surrogate), which cannot be "
                "written. Correct it in the file."
            )
    sound: dict[Any, dict] = {}
    for id, category in zip(ids, categories, strict=True):
        is_sound = id == category["id"] and isinstance(category["name"], str)
        entry = category if is_sound else {**category, "id": id, "name": str(category["name"])}
        first = sound.setdefault(id, entry)
        if first["name"] != entry["name"]:
            raise ValueError(
                f"{name}: its categories give the id {id!r} to {first['name']!r} and to {entry['name']!r}. Give each category an "
                "id of its own, and its objects too."
            )
    return _told_apart(list(sound.values()))


def _told_apart(entries: list[dict]) -> list[dict]:
    """The same with a number behind a name that another has too, "car (2)", and "given_name" as it was. In the order of the ids;
    category 0, which may stand for no class, has its turn last."""
    names = [c["name"] for c in entries]
    if len(set(names)) == len(names):
        return entries
    result, taken = list(entries), set(names)
    first: set[str] = set()
    for place in sorted(range(len(entries)), key=lambda i: (matching_id(entries[i]["id"]) == 0, entries[i]["id"])):
        name = names[place]
        if name in first:
            number = next(n for n in range(2, len(entries) + 2) if f"{name} ({n})" not in taken)
            taken.add(f"{name} ({number})")
            result[place] = {**entries[place], "name": f"{name} ({number})", "given_name": name}
        first.add(name)
    return result


def has_placeholder(entries: list[dict], used: Collection) -> bool:
    """Whether category 0 stands for no class: Roboflow writes one before the classes, which no object uses, named after the
    project and sometimes as a class.

    Args:
        entries: of the categories.
        used: `matching_id` of the categories that annotations have.
    """
    ids = {matching_id(c["id"]) for c in entries}
    # In a set without objects nobody can tell.
    return 0 in ids and len(ids) > 1 and 0 not in used and bool(set(used) & ids)


def says_placeholder(entries: list[dict]) -> bool:
    """Whether category 0 says itself that it is no class: by its name, or as what all others belong to, as Roboflow writes it."""
    zero = next((c for c in entries if matching_id(c["id"]) == 0), None)
    if zero is None or len(entries) < 2:
        return False
    name = zero.get("given_name", zero["name"])
    return name.strip("_ ").lower() in NO_CLASS or all(c.get("supercategory") == name for c in entries if c is not zero)


def without_placeholder(entries: list[dict], placeholder: bool) -> list[dict]:
    return [c for c in entries if not (placeholder and matching_id(c["id"]) == 0)]
