"""What the package does with a BoxList whose fields are lists (masks as run-length encodings), by upstream's interface alone."""

from maskrcnn_benchmark.structures.bounding_box import BoxList


def resized(boxlist: BoxList, size: tuple[int, int]) -> BoxList:
    """`boxlist.resize(size)`, and the same object if it is of that (width, height). Lists are carried along as they are.

    Upstream's `resize` asks every field that is not a tensor to resize itself, which a list cannot.
    """
    if tuple(boxlist.size) == tuple(size):
        return boxlist
    lists = {name: boxlist.get_field(name) for name in boxlist.fields() if isinstance(boxlist.get_field(name), list)}
    result = boxlist.copy_with_fields([name for name in boxlist.fields() if name not in lists]).resize(size)
    for name, data in lists.items():
        result.add_field(name, data)
    return result
