"""Communication between two processes, and what is left of it with one."""

import pytest
import torch

from maskrcnn_benchmark.utils import distributed as comm
from tests.support.processes import run_in_processes


def talk() -> dict:
    """Every collective once, each process with data of its own."""
    rank = comm.get_rank()
    losses = {"b": torch.tensor(1.0 + rank), "a": torch.tensor(10.0 * rank)}
    if rank:  # the order in which a process adds its losses must not matter
        losses = dict(reversed(losses.items()))
    weights = [torch.full((2, 2), float(rank)), torch.tensor(10 + rank)]
    comm.broadcast_tensors(weights)
    first = {"rank": comm.get_rank(), "main": comm.is_main_process(), "local": comm.get_local_rank()}
    first["world"] = comm.get_world_size()
    results = {
        "all_gather": comm.all_gather({"rank": rank, "rows": ["x"] * (1 + 1000 * rank)}),
        "gather": comm.gather(torch.full((rank + 1,), float(rank))),
        "broadcast": comm.broadcast_object(("from", rank)),
        "tensors": [t.tolist() for t in weights],
        "max": comm.all_reduce_max(torch.tensor([rank, -rank], dtype=torch.float32)).tolist(),
        "mean": {n: v.item() for n, v in comm.reduce_dict(losses).items()},
        "sum": {n: v.item() for n, v in comm.reduce_dict(losses, average=False).items()},
        "untouched": {n: v.item() for n, v in losses.items()},
    }
    comm.synchronize()
    return first | results


@pytest.fixture(scope="module")
def said() -> list[dict]:
    return run_in_processes(talk)


def test_ranks(said):
    assert [(s["rank"], s["local"], s["main"], s["world"]) for s in said] == [(0, 0, True, 2), (1, 1, False, 2)]


def test_objects_of_different_sizes_travel(said):
    expected = [{"rank": 0, "rows": ["x"]}, {"rank": 1, "rows": ["x"] * 1001}]
    assert [s["all_gather"] for s in said] == [expected, expected]
    assert [t.tolist() for t in said[0]["gather"]] == [[0.0], [1.0, 1.0]]
    assert said[1]["gather"] is None
    assert [s["broadcast"] for s in said] == [("from", 0), ("from", 0)]
    assert [s["tensors"] for s in said] == [[[[0.0, 0.0], [0.0, 0.0]], 10]] * 2


def test_reductions(said):
    assert [s["max"] for s in said] == [[1.0, 0.0], [1.0, 0.0]]
    assert said[0]["mean"] == {"a": 5.0, "b": 1.5}
    assert said[0]["sum"] == {"a": 10.0, "b": 3.0}
    assert [s["untouched"] for s in said] == [{"b": 1.0, "a": 0.0}, {"b": 2.0, "a": 10.0}]


def test_a_single_process_talks_to_itself():
    data = object()
    assert (comm.get_world_size(), comm.get_rank(), comm.is_main_process()) == (1, 0, True)
    assert comm.all_gather(data) == [data] and comm.gather(data) == [data] and comm.broadcast_object(data) is data
    value = {"loss": torch.tensor(3.0)}
    assert comm.reduce_dict(value) is value
    assert comm.all_reduce_max(value["loss"]).item() == 3.0
    comm.broadcast_tensors([value["loss"]])
    assert value["loss"].item() == 3.0
    comm.synchronize()
