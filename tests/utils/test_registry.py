import pytest

from maskrcnn_benchmark.utils.registry import Registry


def test_both_ways_of_registering():
    registry = Registry({"first": 1})
    registry.register("second", 2)

    @registry.register("third")
    class Third:
        pass

    assert registry == {"first": 1, "second": 2, "third": Third}


def test_an_unknown_name_gets_the_known_ones():
    registry = Registry({"R-50-FPN": 1, "R-50-C4": 2})
    with pytest.raises(KeyError, match="'R-50-FNP' is not one of R-50-C4, R-50-FPN. Did you mean 'R-50-FPN'?"):
        registry["R-50-FNP"]
    with pytest.raises(KeyError) as raised:
        registry["VGG"]
    assert "Did you mean" not in str(raised.value)
    assert registry.get("VGG") is None and "VGG" not in registry


def test_a_name_stands_for_one_thing():
    registry = Registry()
    registry.register("name", len)
    registry.register("name", len)
    with pytest.raises(KeyError, match="'name' is registered already"):
        registry.register("name", max)
    assert registry["name"] is len
