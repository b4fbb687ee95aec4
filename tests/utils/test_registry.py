import pytest

from maskrcnn_benchmark.config import ConfigError
from maskrcnn_benchmark.utils.registered import maker, registered
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


@pytest.mark.parametrize(
    ("file", "said"), [("", "MODULE names; it is not set."), ("my.py", "it names 'my.py', which did not register it.")]
)
@pytest.mark.parametrize("registry", [Registry(R=1), {"R": 1}])
def test_an_unknown_name_of_a_configuration_gets_its_key_and_how_ones_own_is_loaded(registry, file, said, monkeypatch):
    monkeypatch.setenv("TORCH_DETECTRON_ENV_MODULE", file)
    with pytest.raises(ConfigError) as raised:
        registered(registry, "TinyFPN", "MODEL.BACKBONE.CONV_BODY")
    assert str(raised.value).startswith("MODEL.BACKBONE.CONV_BODY: 'TinyFPN' is not") and str(raised.value).endswith(
        said
    )


def test_a_class_is_made_by_from_config_where_it_has_one():
    class Own:
        def __init__(self, *arguments):
            self.arguments = arguments

        @classmethod
        def from_config(cls, cfg, channels):
            return cls(cfg["WIDTH"], channels)

    registry = Registry(own=Own, plain=dict)
    assert maker(registry, "own", "KEY")({"WIDTH": 3}, 8).arguments == (3, 8)
    assert maker(registry, "plain", "KEY") is dict


def test_a_name_stands_for_one_thing():
    registry = Registry()
    registry.register("name", len)
    registry.register("name", len)
    with pytest.raises(KeyError, match="'name' is registered already"):
        registry.register("name", max)
    assert registry["name"] is len
