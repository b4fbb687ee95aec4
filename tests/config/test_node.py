"""Merging values into a configuration: what is taken, and what the errors say."""

from __future__ import annotations

import pytest

from maskrcnn_benchmark.config import ConfigError, ConfigNode
from maskrcnn_benchmark.config import cfg as defaults


@pytest.fixture
def cfg() -> ConfigNode:
    return defaults.clone()


@pytest.fixture
def write(tmp_path):
    def write(name: str, text: str) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    return write


def test_file_and_command_line_values(cfg, write):
    path = write("a.yaml", 'MODEL:\n  WEIGHT: "x.pth"\n  RPN:\n    ANCHOR_STRIDE: (4, 8)\nSOLVER:\n  BASE_LR: 1\n')
    cfg.merge_from_file(path)
    cfg.merge_from_list(["SOLVER.STEPS", "(1, 2)", "MODEL.MASK_ON", "True", "OUTPUT_DIR", 2024, "SOLVER.MAX_ITER", "7"])
    assert cfg.MODEL.WEIGHT == "x.pth"
    assert cfg.MODEL.RPN.ANCHOR_STRIDE == (4, 8)
    assert cfg.SOLVER.BASE_LR == 1.0 and type(cfg.SOLVER.BASE_LR) is float
    assert cfg.SOLVER.STEPS == (1, 2)
    assert cfg.MODEL.MASK_ON is True
    assert cfg.OUTPUT_DIR == "2024"
    assert cfg.SOLVER.MAX_ITER == 7
    assert defaults.SOLVER.MAX_ITER == 40000, "the clone shares its values with the defaults"


def test_lists_and_tuples_stand_for_each_other(cfg, write):
    cfg.merge_from_file(write("a.yaml", "DATASETS:\n  TRAIN: [a, b]\nTEST:\n  EXPECTED_RESULTS: (1, 2)\n"))
    assert cfg.DATASETS.TRAIN == ("a", "b")
    assert cfg.TEST.EXPECTED_RESULTS == [1, 2]


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("SOLVER:\n  BASE_RL: 0.1\n", "SOLVER.BASE_RL", "SOLVER.BASE_LR"),
        ("MODEL:\n  RPN_ONYL: True\n", "MODEL.RPN_ONYL", "MODEL.RPN_ONLY"),
        ("MAX_ITER: 10\n", "MAX_ITER", "SOLVER.MAX_ITER"),
        ("SOLVER:\n  max_iter: 10\n", "SOLVER.max_iter", "SOLVER.MAX_ITER"),
        ("MODEL:\n  BACKBONE:\n    ZZZZZZZZZZZZZZZZZZZZZZ: 1\n", "MODEL.BACKBONE.ZZZZZZZZZZZZZZZZZZZZZZ", None),
    ],
)
def test_unknown_key_names_file_key_and_nearest(cfg, write, text, key, nearest):
    path = write("a.yaml", text)
    with pytest.raises(ConfigError) as error:
        cfg.merge_from_file(path)
    assert path in str(error.value) and repr(key) in str(error.value)
    assert ("did you mean" in str(error.value)) == (nearest is not None)
    assert nearest is None or f"did you mean {nearest!r}?" in str(error.value)


def test_unknown_key_on_the_command_line(cfg):
    with pytest.raises(ConfigError, match=r"the command line.*'MODEL.MASKON'.*did you mean 'MODEL.MASK_ON'"):
        cfg.merge_from_list(["MODEL.MASKON", "True"])


@pytest.mark.parametrize("error", [KeyError, ValueError])
def test_errors_can_be_caught_as_key_and_as_value_error(cfg, error):
    with pytest.raises(error):
        cfg.merge_from_list(["NOPE", 1])


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("SOLVER.MAX_ITER", "many", "must be an int"),
        ("SOLVER.MAX_ITER", "1.5", "must be an int"),
        ("SOLVER.BASE_LR", "True", "must be a float"),
        ("MODEL.MASK_ON", "1", "must be a bool"),
        ("SOLVER.STEPS", "60000", r"must be a tuple.*Write \(60000,\)"),
        ("MODEL", "5", "group of keys"),
    ],
)
def test_wrong_type_names_key_and_value(cfg, key, value, said):
    with pytest.raises(ConfigError, match=said) as error:
        cfg.merge_from_list([key, value])
    assert key in str(error.value) and value in str(error.value)


def test_a_string_stays_the_string_it_is(cfg):
    cfg.merge_from_list(["OUTPUT_DIR", "None"])
    assert cfg.OUTPUT_DIR == "None"


def test_odd_number_of_words(cfg):
    with pytest.raises(ConfigError, match=r"pairs KEY VALUE; got 3 words: SEED 1 DTYPE"):
        cfg.merge_from_list(["SEED", "1", "DTYPE"])


def test_nothing_of_a_bad_value_is_taken(cfg):
    with pytest.raises(ConfigError):
        cfg.merge_from_list(["SEED", "many"])
    assert cfg.SEED == defaults.SEED


def test_bases_come_first_and_are_relative_to_their_file(cfg, write):
    write("root.yaml", "SEED: 1\nDTYPE: float16\nOUTPUT_DIR: root\n")
    write("sub/middle.yaml", "_BASE_: ../root.yaml\nSEED: 2\nDTYPE: bfloat16\n")
    cfg.merge_from_file(write("sub/leaf.yaml", "_BASE_: middle.yaml\nSEED: 3\n"))
    assert (cfg.SEED, cfg.DTYPE, cfg.OUTPUT_DIR) == (3, "bfloat16", "root")
    assert "_BASE_" not in cfg


def test_error_in_a_base_names_the_base(cfg, write):
    base = write("base.yaml", "SEDE: 1\n")
    with pytest.raises(ConfigError, match=r"base\.yaml: there is no configuration key 'SEDE'") as error:
        cfg.merge_from_file(write("leaf.yaml", "_BASE_: base.yaml\n"))
    assert base in str(error.value)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_cycle_of_bases(cfg, write, length):
    files = [write(f"{i}.yaml", f"_BASE_: {(i + 1) % length}.yaml\n") for i in range(length)]
    with pytest.raises(ConfigError, match="leads back to a file already being read") as error:
        cfg.merge_from_file(files[0])
    assert all(file in str(error.value) for file in files)


def test_the_same_base_twice_is_no_cycle(cfg, write):
    """A chain has one base a file; two merges in a row may share theirs."""
    write("base.yaml", "SEED: 1\n")
    for name in ("a", "b"):
        cfg.merge_from_file(write(f"{name}.yaml", f"_BASE_: base.yaml\nOUTPUT_DIR: {name}\n"))
    assert (cfg.SEED, cfg.OUTPUT_DIR) == (1, "b")


def test_missing_files(cfg, write):
    with pytest.raises(FileNotFoundError, match="no configuration file 'nowhere.yaml'"):
        cfg.merge_from_file("nowhere.yaml")
    with pytest.raises(FileNotFoundError, match="gone.yaml"):
        cfg.merge_from_file(write("a.yaml", "_BASE_: gone.yaml\n"))


@pytest.mark.parametrize(
    ("text", "said"),
    [("SOLVER: [1, 2\n", "not valid YAML"), ("- 1\n- 2\n", "holds a list"), ("just words\n", "holds a str")],
)
def test_files_that_hold_no_configuration(cfg, write, text, said):
    path = write("a.yaml", text)
    with pytest.raises(ConfigError, match=said) as error:
        cfg.merge_from_file(path)
    assert path in str(error.value)


def test_a_key_that_stands_in_a_file_twice_is_named(cfg, write, log):
    text = "SOLVER:\n  BASE_LR: 0.02\nMODEL:\n  DEVICE: cpu\nSOLVER:\n  MAX_ITER: 100\n"
    cfg.merge_from_file(write("a.yaml", text))
    assert cfg.SOLVER.MAX_ITER == 100
    assert "a.yaml, line 5: SOLVER stands in line 1 already. The last one alone counts; join the two." in log.text
    log.clear()
    cfg.merge_from_file(write("b.yaml", "MODEL: &m\n  DEVICE: cpu\nSOLVER: {MAX_ITER: 7}\n"))
    assert not log.text


def test_names_that_yaml_takes_for_numbers(cfg, write):
    text = (
        "OUTPUT_DIR: 2024_01_05\nMODEL: {WEIGHT: 0012}\nSOLVER: {MAX_ITER: 90_000, STEPS: [60000, 80000]}\nSEED: -3\n"
    )
    cfg.merge_from_file(write("a.yaml", text))
    assert (cfg.OUTPUT_DIR, cfg.MODEL.WEIGHT) == ("2024_01_05", "0012")
    assert (cfg.SOLVER.MAX_ITER, cfg.SOLVER.STEPS, cfg.SEED) == (90000, (60000, 80000), -3)


def test_file_that_is_not_text(cfg, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xff\x00\x81\xfe")
    with pytest.raises(ConfigError, match="not valid YAML"):
        cfg.merge_from_file(str(path))


def test_empty_file_changes_nothing(cfg, write):
    cfg.merge_from_file(write("a.yaml", "# nothing\n"))
    assert cfg == defaults


def test_definitions_take_new_data_sets(cfg, write):
    birds = "birds: {IMG_DIR: a/images, ANN_FILE: a/birds.json}"
    text = f"DATASETS:\n  DEFINITIONS:\n    {birds}\n  TRAIN: [birds]\n"
    cfg.merge_from_file(write("a.yaml", text))
    cfg.merge_from_list(["DATASETS.DEFINITIONS.birds.IMG_DIR", "b", "DATASETS.DEFINITIONS.fish.IMG_DIR", "c"])
    assert cfg.DATASETS.DEFINITIONS.birds == {"IMG_DIR": "b", "ANN_FILE": "a/birds.json"}
    assert cfg.DATASETS.DEFINITIONS.fish.IMG_DIR == "c"
    assert not defaults.DATASETS.DEFINITIONS
    with pytest.raises(ConfigError, match="DATASETS.DEFINITION'"):
        cfg.merge_from_list(["DATASETS.DEFINITION", "x"])


def test_dump_reads_back(cfg, write):
    cfg.merge_from_list(["SOLVER.STEPS", "(5,)", "DATASETS.DEFINITIONS.birds.IMG_DIR", "x", "MODEL.WEIGHT", "w.pth"])
    again = defaults.clone()
    again.merge_from_file(write("dump.yaml", cfg.dump()))
    assert again == cfg


def test_frozen(cfg, write):
    path = write("a.yaml", "SEED: 5\n")
    cfg.freeze()
    for change in (lambda: cfg.merge_from_file(path), lambda: cfg.merge_from_list(["SEED", 5])):
        with pytest.raises(AttributeError, match="frozen"):
            change()
    with pytest.raises(AttributeError):
        cfg.SEED = 5
    assert cfg.SEED == defaults.SEED
    cfg.defrost()
    cfg.merge_from_file(path)
    assert cfg.SEED == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1, 2", "is not valid YAML"),
        ("SOLVER: {BASE_LR: 2026-13-45}", "is not valid YAML"),
        (
            "SOLVER: {MAX_ITER: " + "9" * 5000 + "}",
            "is not valid YAML: it holds a whole number of more than 4,300 digits",
        ),
        ("[" * 5000, "is not valid YAML"),
        ("a: &a [*a]", "no configuration key 'a'"),
        ("_BASE_: 3", "_BASE_ must be the path of a file; got 3"),
        ("SOLVER: {BASE_LR: '1" + "0" * 400 + "'}", "SOLVER.BASE_LR must be a number; .* is too large"),
        ("SOLVER: {STEPS: {a: 1}}", "SOLVER.STEPS must be a tuple like .*; got {'a': 1}, a dict"),
        ("SOLVER: {STEPS: (3,), MAX_ITER: 4}", "SOLVER.STEPS must be a tuple .* In braces, YAML takes a tuple.s comma"),
        ("SOLVER: {MAX_ITER: 2026-01-02}", "SOLVER.MAX_ITER must be an int like 40000; got datetime.date.*, a date"),
        ("DATASETS: {DEFINITIONS: &d {x: *d}}", "groups of keys at most 8 deep"),
        ("x: " + "1" * (1 << 21), "is of 2,097,15. bytes, and no configuration"),
    ],
)
def test_whatever_is_wrong_with_a_file_is_a_sentence(cfg, write, text, said):
    with pytest.raises(ConfigError, match=said) as raised:
        cfg.merge_from_file(write("a.yaml", text))
    assert len(str(raised.value)) < 2000


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_of_editors_are_read(cfg, tmp_path, encoding):
    (tmp_path / "a.yaml").write_text("OUTPUT_DIR: Größe\r\n", encoding=encoding)
    cfg.merge_from_file(str(tmp_path / "a.yaml"))
    assert cfg.OUTPUT_DIR == "Größe"


@pytest.mark.parametrize("name", ["(1)", "1e3", "1_000", "'a'", "[2024]", "C:\\new", "a b%"])
def test_names_of_folders_stay_as_they_are(cfg, write, name):
    cfg.merge_from_list(["DATASETS.DEFINITIONS.mine.IMG_DIR", name, "DATASETS.DEFINITIONS.mine.USE", "True"])
    assert cfg.DATASETS.DEFINITIONS.mine.IMG_DIR == name and cfg.DATASETS.DEFINITIONS.mine.USE is True
    cfg.merge_from_list(["DATASETS.DEFINITIONS.mine.IMG_DIR", name, "OUTPUT_DIR", name, "MODEL.WEIGHT", name])
    assert [cfg.DATASETS.DEFINITIONS.mine.IMG_DIR, cfg.OUTPUT_DIR, cfg.MODEL.WEIGHT] == [name] * 3


def test_keys_that_are_numbers_do_not_hide_the_nearest_one(write):
    config = defaults.clone()
    path = write("a.yaml", "DATASETS: {DEFINITIONS: {a: {3: x}}}\nMODEL: {MASKON: True}\n")
    with pytest.raises(ConfigError, match=r"'MODEL.MASKON'; did you mean 'MODEL.MASK_ON'"):
        config.merge_from_file(path)
