"""Each rule on a small file: what comes out runs on today's libraries and computes what the file once meant."""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import textwrap
from collections import OrderedDict

import numpy as np
import pytest
import torch
import torchvision.transforms as T
from PIL import Image

pytest.importorskip("libcst")

from maskrcnn_benchmark.porting import dead_names  # noqa: E402
from maskrcnn_benchmark.porting.rewriting import rewrite  # noqa: E402
from maskrcnn_benchmark.porting.rules.names import MOVED, names_by_package  # noqa: E402
from maskrcnn_benchmark.porting.source import Facts  # noqa: E402

PACKAGE = "maskrcnn_benchmark"


def ported(code: str, recent_torch: bool = False, path: str = "a/b.py"):
    return rewrite(textwrap.dedent(code), Facts(path, PACKAGE, recent_torch))


def run(code: str, **given) -> dict:
    """The names that the rewritten code leaves."""
    done = ported(code)
    assert done.error is None
    names = dict(given)
    exec(compile(done.text, "ported", "exec"), names)
    return names


@pytest.mark.parametrize("old", sorted(MOVED))
def test_what_moved_is_where_the_table_says(old):
    target = MOVED[old]
    for module in filter(None, (name.strip() for name in target.module.split(","))):
        if importlib.util.find_spec(module.split(".")[0]) is None:
            pytest.skip(f"{module} is not installed")
    names: dict = {}
    for module in filter(None, (name.strip() for name in target.module.split(","))):
        exec(f"import {module}", names)
    eval(target.code, names)


@pytest.mark.parametrize("target", names_by_package(PACKAGE).items(), ids=lambda item: item[0])
def test_what_stands_in_the_package_is_there(target):
    _, moved = target
    value = importlib.import_module(moved.module)
    for part in filter(None, moved.name.split(".")):
        value = getattr(value, part)


def test_names_of_numpy_under_any_alias():
    names = run(
        """
        import numpy
        import numpy as xp
        from numpy import product as multiply, zeros
        kinds = [numpy.float, xp.int, xp.bool, xp.object, xp.unicode_]
        values = [xp.Inf, numpy.NaN, xp.NINF, multiply([2, 3]), xp.alltrue([1, 0]), zeros(1).sum()]
        """
    )
    assert names["kinds"] == [float, int, bool, object, np.str_]
    infinite, nan, negative, six, alltrue, zero = names["values"]
    assert (
        infinite == float("inf") and np.isnan(nan) and negative == -infinite and six == 6 and not alltrue and zero == 0
    )


def test_a_local_name_is_not_a_module():
    code = """
    import numpy as np
    def f(np):
        return np.float
    """
    assert not ported(code).changes


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def f(x):\n    import matplotlib.pyplot as plt\n    return plt.cm.get_cmap(x)\n", "return plt.get_cmap(x)"),
        (
            "def f(x):\n    from matplotlib import cm\n    return cm.get_cmap(x)\n",
            "    import matplotlib.pyplot\n    from",
        ),
        (
            "def f(x): import scipy.misc as m; return m.comb(x, 2)\n",
            "(x): import scipy.special; import scipy.misc as m;",
        ),
        (
            "def f(x):\n    import scipy.ndimage.filters\n    return scipy.ndimage.filters.convolve(x)\n",
            "return scipy.ndimage.c",
        ),
        ("def f(x):\n    import yaml as y\n    return y.load(x)\n", "Loader=y.FullLoader"),
        (
            "def f(x):\n    import distutils.version as v\n    return v.LooseVersion(x)\n",
            "    import packaging.version\n",
        ),
        (
            "try:\n    from scipy import misc\nexcept ImportError:\n    misc = None\nmisc.comb(3, 2)\n",
            "    import scipy.special\n",
        ),
        ("if a:\n    import skimage.measure as m\n    m.compare_ssim(b)\n", "    import skimage.metrics\n"),
    ],
)
def test_what_is_imported_in_a_function_or_under_a_condition_is_not_imported_at_the_top(code, expected):
    done = ported(code)
    assert expected in done.text
    top = [node for node in ast.parse(done.text).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert not top


def test_imports_that_a_fork_has_at_its_top_already_or_always_stay_there():
    code = (
        "'''doc'''\nimport scipy.misc\ndef f(x):\n    import numpy as np\n    return np.NINF, scipy.misc.comb(x, 2)\n"
    )
    assert ported(code).text.startswith("'''doc'''\nimport numpy\nimport scipy.special\nimport scipy.misc\n")


def test_arguments_that_libraries_renamed_or_dropped():
    names = run(
        """
        import io, json
        import numpy as np
        import torch
        import torchvision.transforms as T, torchvision.transforms.functional as TF
        from torch.optim import lr_scheduler
        from torchvision.utils import make_grid
        from PIL import Image
        class Own(lr_scheduler._LRScheduler):
            def __init__(self, optimizer, last_epoch=-1, verbose=False):
                super(Own, self).__init__(optimizer, last_epoch, verbose)
            def get_lr(self):
                return [0.25]
        made = (
            lr_scheduler.ReduceLROnPlateau(optimizer, "min", verbose=True),
            torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "min", 0.1, 10, True, 0.5),
            lr_scheduler.StepLR(optimizer, 2, 0.5, -1, False),
            lr_scheduler.ExponentialLR(optimizer, 0.5, verbose=False,),
            Own(optimizer),
        )
        turned = TF.rotate(image, 45, resample=Image.BILINEAR), TF.rotate(image, 45, resample=False)
        drawn = T.RandomRotation((45, 45), resample=False), T.RandomAffine((45, 45), resample=Image.BILINEAR, fillcolor=7)
        grid = make_grid(torch.tensor([[[[-1.0, 1.0]]]]), normalize=True, range=(-1, 1))
        counts, median = np.histogram([1, 1], bins=1, normed=True)[0], np.percentile([1, 2], 50, interpolation="lower")
        read = json.load(io.StringIO("[1]"), encoding="utf-8"), np.array([1], copy=False)
        """,
        optimizer=torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0),
        image=Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)),
    )
    plateau, step, own = names["made"][1], names["made"][2], names["made"][-1]
    assert plateau.threshold == 0.5 and step.gamma == 0.5 and own.get_last_lr() == [0.25]
    smooth, nearest = (np.asarray(image) for image in names["turned"])
    assert (smooth != nearest).any() and (nearest == np.asarray(names["image"].rotate(45))).all()
    turned, sheared = names["drawn"]
    assert turned.interpolation == T.InterpolationMode.NEAREST and sheared.interpolation == T.InterpolationMode.BILINEAR
    assert sheared.fill == 7 and names["grid"].unique().tolist() == [0.0, 1.0]
    assert names["counts"].tolist() == [1.0] and names["median"] == 1 and names["read"] == ([1], np.array([1]))


def test_methods_and_readings_that_numpy_and_python_removed():
    names = run(
        """
        import threading
        import numpy as np
        import xml.etree.ElementTree as ET
        root = ET.fromstring("<a><b/><b/></a>")
        tags = [child.tag for child in root.getchildren()], len(list(root.getiterator("b"))), ET.tostring(root.getchildren()[0])
        data = np.array([1, 2], np.uint8).tostring()
        read = np.fromstring(data, np.uint8), np.fromstring(data, dtype=np.uint8, sep=""), np.fromstring("1 2", sep=" ")
        read[0][0] = 9
        alive = threading.current_thread().isAlive()
        """
    )
    assert names["tags"] == (["b", "b"], 2, b"<b />") and names["data"] == b"\x01\x02" and names["alive"]
    assert [numbers.tolist() for numbers in names["read"]] == [[9, 2], [1, 2], [1, 2]]


def test_the_pixels_of_a_figure():
    pytest.importorskip("matplotlib").use("Agg")
    names = run(
        """
        import matplotlib.pyplot as plt
        import numpy as np
        figure, axes = plt.subplots(figsize=(2, 1), dpi=10)
        axes.hist([1, 2], normed=True)
        axes.grid(b=True)
        figure.canvas.draw()
        pixels = np.fromstring(figure.canvas.tostring_rgb(), dtype=np.uint8, sep="").reshape(10, 20, 3)
        plt.close(figure)
        """
    )
    assert names["pixels"].max() == 255


def test_functions_that_numpy_removed():
    names = run(
        """
        import numpy as np
        a = np.in1d(np.array([[1, 2], [3, 4]]), [2, 3], invert=True)
        b = np.asscalar(np.array([7])), np.msort(np.array([2, 1])).tolist(), np.asfarray([1]).dtype
        """
    )
    assert names["a"].tolist() == [True, False, False, True]
    assert names["b"] == (7, [1, 2], np.dtype(float))


def test_torch_six_goes_and_its_names_stay():
    names = run(
        """
        import torch._six
        from torch._six import string_classes, int_classes as whole  # what a batch may hold
        from torch import _six
        is_python_3 = torch._six.PY3
        texts = isinstance("a", string_classes), isinstance(1, whole), _six.inf
        """
    )
    assert names["is_python_3"] is True and names["texts"] == (True, True, float("inf"))


def test_comments_and_layout_stay():
    code = """
    # a file of 2019
    from collections import Mapping, OrderedDict  # both


    def f( x ):   # odd blanks
        '''doc'''
        return isinstance(x,Mapping)
    """
    done = ported(code)
    kept = textwrap.dedent(code).splitlines()
    assert [line for line in done.text.splitlines() if "import" not in line] == [
        line for line in kept if "import" not in line
    ]
    assert "# both" in done.text
    names: dict = {}
    exec(done.text, names)
    assert names["f"]({}) and not names["f"]([]) and names["OrderedDict"] is OrderedDict


def test_line_ends_stay():
    done = rewrite("import numpy as np\r\nx = np.float(1)\r\n", Facts("a.py", PACKAGE))
    assert done.text == "import numpy as np\r\nx = float(1)\r\n"
    assert [(c.line, c.before, c.after) for c in done.changes] == [(2, "np.float", "float")]


def test_distributed_and_model_zoo():
    names = run(
        """
        import torch.distributed.deprecated as dist
        from torch.utils.model_zoo import _download_url_to_file, urlparse, HASH_REGEX
        from torchvision.models.utils import load_state_dict_from_url
        add = dist.reduce_op.SUM
        """
    )
    assert names["add"] == torch.distributed.ReduceOp.SUM
    assert names["_download_url_to_file"] is torch.hub.download_url_to_file
    assert names["urlparse"]("a://b/c").path == "/c" and names["HASH_REGEX"] is torch.hub.HASH_REGEX
    assert names["load_state_dict_from_url"] is torch.hub.load_state_dict_from_url


def test_a_try_keeps_its_block():
    names = run(
        """
        try:
            import torch._six
        except ImportError:
            raise ImportError("no six")
        """
    )
    assert "torch" not in names


def test_masks_are_bool_where_they_select():
    code = """
    import torch
    def f(x, k):
        keep = torch.zeros_like(x, dtype=torch.uint8)
        keep[k] = 1
        y = x.clone()
        y[keep] = 9.0
        y = y.masked_fill((x > 2).byte(), 5.0)
        pixels = (x * 50).to(torch.uint8)
        return y, 1 - (x > 2), pixels
    """
    names = run(code)
    x = torch.arange(4.0)
    y, small, pixels = names["f"](x, 0)
    assert y.tolist() == [9.0, 1.0, 2.0, 5.0]
    assert small.tolist() == [1, 1, 1, 0]
    assert pixels.dtype == torch.uint8 and pixels.tolist() == [0, 50, 100, 150]


def test_one_minus_a_comparison_of_numbers_or_tensors():
    names = run(
        """
        import torch
        def f(x):
            values, index = x.topk(2)
            return 1 - (x > 2), 1 - (index == 3)
        def g(a, b):
            return 1 - (a > b)
        """
    )
    small, other = names["f"](torch.arange(4.0))
    assert small.tolist() == [True, True, True, False] and other.tolist() == [False, True]
    assert names["g"](1, 2) == 1 and names["g"](2, 1) == 0


def test_one_minus_a_comparison_beside_numpy_is_left_to_a_person():
    done = ported("import torch\nimport numpy as np\ndef f(a):\n    return 1 - (a > 2)\n")
    assert not done.changes and [remark.line for remark in done.remarks] == [4]


def test_whole_numbers_are_divided_as_they_were():
    code = """
    import torch
    def f(scores, classes, offsets):
        _, index = scores.flatten().topk(2)
        boxes = index / classes
        boxes += 0
        negative = offsets.long() / 2
        down = offsets.float() // 2
        half = scores.shape[0] // 2, scores / 2
        return boxes, negative, down, half
    """
    f = run(code)["f"]
    boxes, negative, down, half = f(torch.arange(6.0).reshape(3, 2), 2, torch.tensor([-3, 3]))
    assert boxes.tolist() == [2, 2] and boxes.dtype == torch.int64
    assert negative.tolist() == [-1, 1] and negative.dtype == torch.int64
    assert down.tolist() == [-1.0, 1.0]
    assert half[0] == 1 and half[1].dtype == torch.float32
    assert not ported(code, recent_torch=True).changes


def test_checkpoints_with_more_than_tensors_load(tmp_path):
    file = io.BytesIO()
    torch.save({"model": torch.ones(1), "who": inspect.Parameter("x", inspect.Parameter.KEYWORD_ONLY)}, file)
    file.seek(0)
    loaded = run("import torch\nloaded = torch.load(file, map_location='cpu')\n", file=file)["loaded"]
    assert loaded["who"].name == "x"


def test_linear_algebra():
    names = run(
        """
        import torch
        x, lu = torch.solve(b, a)
        y = torch.gesv(b, a)[0]
        z = torch.solve(b, a).solution
        w = torch.gels(b, a)[0]
        values, vectors = torch.symeig(a, eigenvectors=True)
        q, r = torch.qr(a)
        lower, upper = torch.cholesky(a), torch.potrf(a)
        """,
        a=torch.tensor([[2.0, 1.0], [1.0, 3.0]]),
        b=torch.tensor([[1.0], [2.0]]),
    )
    a, b = names["a"], names["b"]
    for solution in (names["x"], names["y"], names["z"], names["w"]):
        torch.testing.assert_close(a @ solution, b)
    torch.testing.assert_close(a @ names["vectors"], names["vectors"] * names["values"])
    torch.testing.assert_close(names["q"] @ names["r"], a)
    torch.testing.assert_close(names["lower"] @ names["lower"].T, a)
    torch.testing.assert_close(names["upper"].T @ names["upper"], a)
    assert names["upper"][1, 0] == 0


@pytest.mark.parametrize(
    ("arguments", "reduction"),
    [
        ("size_average=False", "sum"),
        ("size_average=True", "mean"),
        ("reduce=False", "none"),
        ("size_average=flag", "mean"),
    ],
)
def test_losses(arguments, reduction):
    x, y = torch.rand(4), torch.rand(4)
    code = f"import torch.nn.functional as F\nloss = F.mse_loss(x, y, {arguments})\n"
    done = ported(code)
    assert "size_average" not in done.text and "reduce=" not in done.text
    loss = run(code, x=x, y=y, flag=True)["loss"]
    torch.testing.assert_close(loss, torch.nn.functional.mse_loss(x, y, reduction=reduction))


def test_samplers_and_data_sets():
    names = run(
        """
        from torch.utils.data.sampler import Sampler
        from torchvision.datasets import VisionDataset
        class Every(Sampler):
            def __init__(self, source):
                super(Every, self).__init__(source)
                self.source = source
            def __iter__(self):
                return iter(range(len(self.source)))
        class Numbers(VisionDataset):
            def __getitem__(self, index):
                return index, []
        class Boxes(VisionDataset):
            def __init__(self, transforms):
                super(Boxes, self).__init__("x")
                self.transforms = transforms
            def __getitem__(self, index):
                return super(Boxes, self).__getitem__(index) if index < 0 else self.transforms(index)
        """
    )
    assert list(names["Every"]("abc")) == [0, 1, 2]
    boxes = names["Boxes"](lambda value: value * 2)
    assert boxes[3] == 6 and boxes.transforms is None


def test_yaml_and_inspect():
    names = run(
        """
        import yaml as y, inspect
        def g(a, *b, c=1, **d): pass
        read = y.load("a: [1, 2]")
        keywords = inspect.getargspec(g).keywords
        args, varargs, varkw, defaults = inspect.getargspec(g)
        """
    )
    assert names["read"] == {"a": [1, 2]} and names["keywords"] == "d"
    assert (names["args"], names["varargs"], names["varkw"]) == (["a"], "b", "d")


@pytest.mark.parametrize(
    ("given", "environment", "rank"), [([], "3", 3), (["--local_rank=2"], "3", 2), (["--local-rank", "1"], None, 1)]
)
def test_local_rank(given, environment, rank, monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if environment:
        monkeypatch.setenv("LOCAL_RANK", environment)
    names = run(
        """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("--local_rank", type=int, default=0)
        args = parser.parse_args(given)
        """,
        given=given,
    )
    assert names["args"].local_rank == rank


def test_points_of_opencv():
    names = run(
        """
        import cv2
        import numpy as np
        image = np.zeros((20, 30, 3), np.uint8)
        top, bottom = np.array([2.0, 3.0], np.float32), (8.6, 9.2)
        cv2.rectangle(image, tuple(top), bottom, tuple(np.array([1, 2, 3])), 1)
        cv2.circle(image, (top[0], 4), 1, (0, 0, 255))
        cv2.putText(image, "a", tuple(top), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255))
        small = cv2.resize(image, (15 / 1.5, 7.0))
        half = cv2.resize(image, None, fx=0.5, fy=0.5)
        """
    )
    assert names["image"][3, 2].any() and names["image"][9, 8].any()
    assert names["small"].shape == (7, 10, 3) and names["half"].shape == (10, 15, 3)


def test_contours_of_opencv():
    image = np.zeros((20, 20), np.uint8)
    image[4:10, 5:12] = 1
    names = run(
        """
        import cv2
        _, contours, hierarchy = cv2.findContours(image, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        again = cv2.findContours(image, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)[1]
        is_new = cv2.__version__.startswith("4")
        if not cv2.__version__.startswith("4"):
            _, contours, hierarchy = cv2.findContours(image, 1, 2)
        """,
        image=image,
    )
    assert len(names["contours"]) == 1 and len(names["again"]) == 1 and names["is_new"]
    assert cv2_box(names["contours"][0]) == (5, 4, 11, 9)


def cv2_box(contour) -> tuple[int, ...]:
    points = contour.reshape(-1, 2)
    return (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())


def test_text_of_pillow():
    names = run(
        """
        import os
        from PIL import Image, ImageDraw, ImageFont
        font = ImageFont.load_default(20)
        width, height = ImageDraw.Draw(Image.new("L", (90, 40))).textsize("word", font=font)
        of_font = font.getsize("word")
        small = Image.new("L", (90, 40)).resize((9, 4), Image.ANTIALIAS)
        size = os.path.getsize(name)
        """,
        name=__file__,
    )
    assert names["width"] > names["height"] > 5 and tuple(names["of_font"]) == (names["width"], names["height"])
    assert names["small"].size == (9, 4) and names["size"] > 0


def test_python_2_names_in_files_that_python_3_parses():
    names = run(
        """
        total = sum(i for i in xrange(4)) + sum(d.itervalues())
        text = isinstance("a", basestring) and d.has_key("k")
        """,
        d={"k": 2},
    )
    assert names["total"] == 8 and names["text"] is True
    assert not ported("def xrange(n):\n    return [n]\nx = xrange(2)\nx.long()\n").changes


def test_async_arguments():
    done = ported("def f(x):\n    return x.cuda(0, async=True)\n")
    assert "non_blocking=True" in done.text and [change.line for change in done.changes] == [2]


def test_volatile_and_elements_of_losses():
    done = ported(
        "from torch.autograd import Variable\n"
        "def f(x, losses):\n    y = Variable(x, volatile=True)\n    return losses.data[0], y.data[0]\n"
    )
    assert "Variable(x)" in done.text and "losses.item()" in done.text and "y.data[0]" in done.text
    assert [remark.line for remark in done.remarks] == [3]


def test_versions_with_a_plus():
    names = run('import torch\nparts = [int(p) for p in torch.__version__.split(".")[:2]]\n')
    assert names["parts"] >= [2, 11]


def test_apex_becomes_torch():
    names = run(
        """
        from apex import amp
        import apex.parallel
        from apex.normalization import FusedLayerNorm
        convert = apex.parallel.convert_syncbn_model
        """
    )
    assert names["amp"].__name__ == "maskrcnn_benchmark.porting.apex_amp"
    assert names["FusedLayerNorm"] is torch.nn.LayerNorm
    assert names["convert"] == torch.nn.SyncBatchNorm.convert_sync_batchnorm
    done = ported("from apex.parallel import DistributedDataParallel as D\nm = D(net, delay_allreduce=True)\n")
    assert "D(net, find_unused_parameters=True)" in done.text


@pytest.mark.parametrize("code", ["print 'x'\n", "def f(:\n", "try:\n    x\nexcept A, e:\n    y\n"])
def test_what_does_not_parse_comes_back_with_its_line(code):
    done = ported(f"x = 1\n{code}")
    assert done.text == f"x = 1\n{code}" and done.error is not None and done.error[0] >= 2


def test_a_choice_of_ones_or_zeros_is_a_mask():
    names = run(
        """
        import torch
        def f(x, all_of_them):
            mask = x.new_ones(1, dtype=torch.uint8) if all_of_them else x.new_zeros(1, dtype=torch.uint8)
            return mask
        """
    )
    assert names["f"](torch.ones(2), True).tolist() == [True] and names["f"](torch.ones(2), False).dtype == torch.bool


def test_the_gpu_by_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    names = run(
        """
        import torch
        def f(x):
            y = torch.zeros(1, 4).to('cuda') + x.cuda().sum() + x.cuda(non_blocking=True).sum()
            y = y + x.cuda(0).sum() + x.cuda(device=x.get_device()).sum() + x.cuda(1, True).sum() + x.to("cuda:0").sum()
            z = torch.ones(2, device="cuda:0") + x.new_ones(2, device=f"cuda:{x}") + torch.zeros(2, device="cuda:{}".format(1))
            return y, z, x.type(torch.cuda.FloatTensor), torch.cuda.LongTensor([1]), torch.device("cuda")
        def g(x):
            if torch.cuda.is_available():
                x = x.cuda()
            return x
        """
    )
    y, z, floats, whole, device = names["f"](torch.tensor([1, 2]))
    assert y.tolist() == [[18.0] * 4] and z.tolist() == [2.0, 2.0] and device.type == "cpu"
    assert floats.dtype == torch.float32 and whole.dtype == torch.int64
    assert names["g"](whole) is whole


def test_views_of_results_that_keep_strides():
    names = run(
        """
        import torch
        import numpy as np

        x = torch.arange(24.0).view(2, 3, 4)
        scores = x.permute(0, 2, 1).sigmoid() > 0.5   # contiguous until torch 1.5
        flat, rows = scores.view(2, -1), scores.view(-1)
        same = x.view(x.shape), x.view(*x.shape), x.view((6, 4))
        bits, bytes_ = x.view(torch.int32), np.ones(2, np.float32).view(np.uint8)
        """
    )
    assert names["flat"].shape == (2, 12) and names["rows"].tolist() == names["scores"].flatten().tolist()
    assert [tuple(t.shape) for t in names["same"]] == [(2, 3, 4), (2, 3, 4), (6, 4)]
    assert names["bits"].dtype == torch.int32 and names["bytes_"].shape == (8,)


def test_waiting_for_a_gpu_that_is_not_there():
    names = run(
        """
        import torch

        def timed(f):
            torch.cuda.synchronize()
            done = f()
            torch.cuda.synchronize(0)
            return done
        """
    )
    assert names["timed"](lambda: 3) == 3


def test_methods_of_the_files_own_classes_stay():
    names = run(
        """
        import torch
        class Own(dict):
            def view(self, n):
                return "view", n
            def iteritems(self):
                return "iteritems"
            def has_key(self, key):
                return "has_key"
            def cuda(self):
                return "cuda"
            def getsize(self, text):
                return "getsize"
        own = Own()
        answers = own.view(1), own.iteritems(), own.has_key(1), own.cuda(), own.getsize("a")
        """
    )
    assert names["answers"] == (("view", 1), "iteritems", "has_key", "cuda", "getsize")


def test_views_that_are_no_sizes_of_tensors_stay():
    assert not ported("def f(x):\n    return x.view(1)\n").changes
    for kind in ("np.uint8", "torch.uint8", "'u1'", "dtype=np.uint8", "float", "x.dtype"):
        assert not ported(f"import torch\nimport numpy as np\ndef f(x):\n    return x.view({kind})\n").changes
    assert run("import torch\ny = torch.ones(2, 3).t().view(len('abcdef'))\n")["y"].shape == (6,)


def test_whole_numbers_by_more_ways():
    names = run(
        """
        import torch
        def f(k, W, x):
            i = torch.nonzero(k).squeeze(1)
            i = i[:3]
            flat = torch.nonzero(k).view(-1) / W, torch.nonzero(k).reshape(-1).squeeze() / W
            return i / W, flat[0], flat[1], x.long().sum() / 2
        def g(n, W):
            step = 0.5
            order = torch.randperm(n) / W
            down = torch.arange(-3, n) / 2
            floats = torch.arange(0, n, step) / 2, torch.arange(2.0) / 2, torch.arange(n, dtype=torch.float) / 2
            n = int(n)
            return torch.arange(n) / 2, torch.arange(end=n) / W, order, down, floats
        def h(x):
            i = x.i.nonzero().squeeze(1)
            i = i / 2
            return i / 2
        def s(m, n):
            some, more = torch.nonzero(m).squeeze(1), torch.randperm(n)
            joined = torch.cat([some, more]) / 2, torch.stack((some, some)) / 2, torch.cat((some, m * 0.5)) / 2
            return torch.cumsum(m.long(), 0) / 2, torch.sum(m > 0) / 2, torch.randint(3, 4, (2,)) / 2, joined
        """
    )
    k = torch.tensor([0, 1, 0, 1, 1, 1])
    running, total, drawn, joined = names["s"](k, 1)
    assert running.tolist() == [0, 0, 0, 1, 1, 2] and total.item() == 2 and drawn.tolist() == [1, 1]
    assert joined[0].tolist() == [0, 1, 2, 2, 0] and joined[1].tolist() == [[0, 1, 2, 2]] * 2
    assert joined[2].tolist() == [0.5, 1.5, 2, 2.5, 0, 0.25, 0, 0.25, 0.25, 0.25]
    rows, flat, squeezed, half = names["f"](k, 2, torch.tensor([-1.0, -2.0]))
    assert rows.tolist() == [0, 1, 2] and flat.tolist() == squeezed.tolist() == [0, 1, 2, 2] and half.item() == -1
    halves, ends, order, down, floats = names["g"](4, 2)
    assert names["h"](type("X", (), {"i": k})).tolist() == [0, 0, 1, 1]
    assert halves.tolist() == ends.tolist() == sorted(order.tolist()) == [0, 0, 1, 1]
    assert down.tolist() == [-1, -1, 0, 0, 0, 1, 1]
    assert floats[0].tolist()[1] == 0.25 and floats[1].tolist() == [0, 0.5] and floats[2].tolist()[1] == 0.5


def test_byte_tensors_as_masks():
    names = run(
        """
        import torch
        def f(x):
            m = torch.ByteTensor([1, 0, 1])
            n = torch.tensor([1, 0, 1], dtype=torch.uint8)
            k = n.byte() & m
            colors = torch.tensor([5], dtype=torch.uint8)
            colors[0] = 1
            return x[torch.ByteTensor([0, 1, 1])], x[~m], x[~n], x[~k], colors
        """
    )
    *chosen, colors = names["f"](torch.arange(3))
    assert [t.tolist() for t in chosen] == [[1, 2], [1], [1], [1]] and colors.dtype == torch.uint8
    done = ported("import torch\ny = x[torch.cuda.ByteTensor([0, 1])]\n")
    assert "(torch.cuda.BoolTensor if torch.cuda.is_available() else torch.BoolTensor)([0, 1])" in done.text


def test_full_gives_floats():
    code = """
    import torch
    filled = torch.full((2,), 1), torch.full((2,), -1), torch.full(size=(2,), fill_value=0x2)
    whole = torch.full((2,), 1, dtype=torch.int64)
    """
    names = run(code)
    assert [t.tolist() for t in names["filled"]] == [[1, 1], [-1, -1], [2, 2]]
    assert {t.dtype for t in names["filled"]} == {torch.float32} and names["whole"].dtype == torch.int64
    assert not ported(code, recent_torch=True).changes


def test_sampling_and_scaling_as_in_2019():
    x, grid = torch.rand(1, 1, 5, 5), torch.rand(1, 3, 3, 2)
    code = """
    import torch
    import torch.nn.functional as F
    from torch import nn
    sampled = F.grid_sample(x, grid), F.grid_sample(x, grid, align_corners=False)
    scaled = F.interpolate(x, scale_factor=0.7, mode="bilinear"), F.upsample(x, None, 0.7, "bicubic")
    scaled += (nn.Upsample(scale_factor=0.7, mode="bilinear")(x),)
    kept = F.interpolate(x, (3, 3), mode="bilinear"), F.interpolate(x, scale_factor=2, mode="nearest")
    """
    names = run(code, x=x, grid=grid)
    resized = {
        mode: torch.nn.functional.interpolate(x, (3, 3), mode=mode, align_corners=False)
        for mode in ("bilinear", "bicubic")
    }
    for index, aligned in enumerate((True, False)):
        torch.testing.assert_close(
            names["sampled"][index], torch.nn.functional.grid_sample(x, grid, align_corners=aligned)
        )
    for value, mode in zip(names["scaled"], ("bilinear", "bicubic", "bilinear"), strict=True):
        torch.testing.assert_close(value, resized[mode])
    torch.testing.assert_close(names["kept"][0], resized["bilinear"])
    assert "recompute" not in ported(code, recent_torch=True).text and names["kept"][1].shape[-1] == 10


def test_optimizers_of_apex():
    names = run(
        """
        from apex.optimizers import FusedAdam, FusedSGD
        import apex.optimizers as fused
        plain = FusedAdam(weights, lr=0.1, bias_correction=True)
        decays = fused.FusedAdam(weights, weight_decay=0.1), FusedAdam(weights, adam_w_mode=False)
        sgd = FusedSGD(weights, lr=0.1, wd_after_momentum=False)
        """,
        weights=[torch.nn.Parameter(torch.ones(1))],
    )
    assert type(names["plain"]) is torch.optim.AdamW and names["plain"].defaults["weight_decay"] == 0
    assert names["decays"][0].defaults["weight_decay"] == 0.1 and not isinstance(names["decays"][1], torch.optim.AdamW)
    assert type(names["sgd"]) is torch.optim.SGD


def test_sums_of_masks_are_left_to_a_person():
    code = """
    import torch
    def f(a, b, k):
        m, n = a.clone(), 3
        m = torch.eq(a, b)
        both = (a > 0) + (b > 0) == 2
        return both, m + (a > 0) + (b > 0) >= 1, (a > 0) + b > 1, (a > 0) + (b > 0)
    """
    assert [remark.line for remark in ported(code).remarks] == [6]
    assert not ported(code, recent_torch=True).remarks
    assert [r.line for r in ported("import torch\nm = x.eq(y)\nk = m + (x > 0) + (y > 0) > 1\n").remarks] == [3]
    code = """
    import torch
    def f(a, b, c):
        n = (a > b) + (b > c)
        return ((a > b) + (b > c)).sum(), torch.sum(n), n.float(), n == 2, c[n], n.bool(), n.numpy(), (a + b).sum()
    """
    assert [r.text.split("`")[1] for r in ported(code).remarks] == [
        "((a > b) + (b > c)).sum()",
        "torch.sum(n)",
        "n.float()",
        "n == 2",
    ]


def test_a_mask_minus_a_mask_is_left_to_a_person():
    code = """
    import torch
    def f(a, b):
        m = torch.eq(a, b)
        k, n = a > 0, b > 0
        return (a > 0) - (b < 3), m - (a > 0), (a > 0).int() - (b < 3).int(), a - b, m - a, k - n, -m, -a
    """
    done = ported(code)
    found = [r.text.split("`")[1] for r in done.remarks]
    assert found == ["(a > 0) - (b < 3)", "m - (a > 0)", "m - a", "k - n", "-m"] and not done.changes


def test_a_name_for_a_comparison_is_treated_as_the_comparison():
    code = """
    import torch
    def f(x):
        mask = (x > 0) & (x < 5)
        mask = mask.byte()
        return x[mask], 1 - mask
    def g(labels):
        positive = labels > 0
        negative = 1 - positive
        return negative, 1 - negative, positive.sum() / 2, torch.sum(positive) / 2, negative[:3].sum() / 2
    def h(x):
        mask = x > 0
        mask = mask.byte()
        count = x > 0
        count += x > 1
        return 1 - mask, 1 - count
    """
    names = run(code)
    x = torch.tensor([0, 1, 4, 7])
    assert [found.tolist() for found in names["f"](x)] == [[1, 4], [True, False, False, True]]
    assert [n.tolist() for n in names["g"](x)] == [[True, *[False] * 3], [False, *[True] * 3], 1, 1, 0]
    assert "mask = mask.byte()" in ported(code).text and "return 1 - mask, 1 - count" in ported(code).text
    done = ported("import numpy\n" + textwrap.dedent(code))
    assert "`1 - positive`" in "".join(r.text for r in done.remarks)
    assert "`positive.sum() / 2`" in "".join(r.text for r in done.remarks)


def dead(code: str) -> list[tuple[int, str]]:
    found, _ = dead_names.find("a.py", textwrap.dedent(code), ())
    return [(name.line, name.name) for name in found]


def test_dead_methods_of_tensors():
    code = """
    import torch
    import numpy as np
    values, vectors = x.symeig(eigenvectors=True)
    answer = b.t().lstsq(a), np.linalg.lstsq(a, b), torch.linalg.lstsq(a, b)
    """
    assert dead(code) == [(4, "Tensor.symeig"), (5, "Tensor.lstsq")]
    assert not dead(code.replace("import torch", "").replace("torch", "np"))
    assert not dead("import torch\nclass A:\n    def lstsq(self):\n        return self.lstsq()\n")


def test_a_package_that_is_missing_is_named_though_what_is_imported_from_it_is_dead(monkeypatch):
    monkeypatch.setattr(dead_names, "ALWAYS_DEAD", {"no_such_package.misc.old": "It was removed."})
    code = "import os\nfrom no_such_package.misc import old\ndef f():\n    import nor_this.one\n"
    found, absent = dead_names.find("a.py", code, ())
    assert [one.name for one in found] == ["no_such_package.misc.old"]
    assert absent == {"no_such_package": 2, "nor_this": 4}


def test_names_that_are_dead_installed_or_not():
    assert dead("import torch\ny, z = torch.fft(x, 1), torch.fft.fftn(x)\n") == [(2, "torch.fft()")]
    assert dead("from scipy.misc import imresize\nfrom scipy import misc\nmisc.imsave('a', x)\n") == [
        (1, "scipy.misc.imresize"),
        (3, "scipy.misc.imsave"),
    ]
    code = "from apex.fp16_utils import FP16_Optimizer\nfrom apex.multi_tensor_apply import multi_tensor_applier\n"
    assert dead(ported(code).text) == [(1, "apex.fp16_utils"), (2, "apex.multi_tensor_apply")]
    assert dead("import apex.fp16_utils\nfrom apex import multi_tensor_apply\n") == [
        (1, "apex.fp16_utils"),
        (2, "apex.multi_tensor_apply"),
    ]


def test_ranges_whose_bounds_may_have_fractions_stay():
    code = """
    import torch
    STEP = 0.5
    class A:
        def __init__(self, end: float, width=1.5):
            self.step = end / 2
            torch.arange(end) / 2, torch.arange(width) / 2, torch.arange(0, 3, STEP) / 2, torch.arange(self.step) / 2
        def f(self, n):
            half = n / 2
            n = float(n)
            def g():
                return torch.arange(half) / 2
            return torch.arange(half) / 2, torch.arange(n) / 2, torch.arange(x.size(0) / 2) / 2
    """
    assert not ported(code).changes
    done = ported(
        code + "    def h(self, x):\n            return torch.arange(x.size(0)) / 2, torch.arange(self.m) / 2\n"
    )
    assert len(done.changes) == 2


def test_an_argument_after_a_last_comma_has_its_own_line():
    done = ported("import torch\ny = torch.load(\n    name,\n    map_location=place,\n)\n")
    assert done.text.endswith("(\n    name,\n    map_location=place,\n    weights_only=False,\n)\n")


def test_divisions_of_whole_numbers_in_other_words():
    code = """
    import torch
    def f(a, labels, n):
        k = torch.tensor([1, 2, 3]) / 2, torch.tensor([[1, -3]]) / 2, torch.tensor([1.0, 3]) / 2
        calls = a.long().div(2), torch.div(a.long(), 2), a.float().div(2), a.long().div(2.0), a.long().div_(2)
        return k, calls, labels.nonzero().squeeze(1) / 2, (labels > 0).sum() / n, torch.LongTensor([3]) / 2
    """
    f = run(code)["f"]
    (whole, signed, real), calls, places, count, made = f(torch.tensor([-3.0, 3.0]), torch.tensor([1, 0, 1, 1]), 2)
    assert whole.tolist() == [0, 1, 1] and signed.tolist() == [[0, -1]] and real.tolist() == [0.5, 1.5]
    assert [c.tolist() for c in calls] == [[-1, 1], [-1, 1], [-1.5, 1.5], [-1.5, 1.5], [-1, 1]]
    assert places.tolist() == [0, 1, 1] and count.item() == 1 and count.dtype == torch.int64 and made.tolist() == [1]
    assert not ported(code, recent_torch=True).changes


def test_divisions_beside_numpy_are_left_to_a_person_where_arrays_may_be_meant():
    done = ported(
        """
        import numpy as np
        import torch
        def f(a, n):
            return a.nonzero().squeeze(1) / 2, (a > 0).sum() / n, a.argmax() / n, np.argmax(a) / n, a.mean() / n
        """
    )
    assert [change.after for change in done.changes] == ["a.nonzero().squeeze(1) // 2"]
    assert [remark.text.split("`")[1] for remark in done.remarks] == ["(a > 0).sum() / n", "a.argmax() / n"]


def test_one_minus_a_byte_mask_turns_it_round():
    code = """
    import torch
    def f(n, x):
        mask = torch.zeros(n).byte()
        mask[2] = 1
        return x[mask], x[1 - mask]
    def g(n, x):
        one = torch.ones(n, dtype=torch.uint8)
        return x[1 - one]
    """
    names = run(code)
    assert [rows.tolist() for rows in names["f"](4, torch.arange(4))] == [[2], [0, 1, 3]]
    assert names["g"](4, torch.arange(4)).tolist() == []


def test_short_time_fourier_transforms_give_real_and_imaginary_parts():
    code = "import torch\ny = torch.stft(x, 16, window=w)\nz = torch.stft(x, 16, window=w, return_complex=True)\n"
    names = run(code, x=torch.rand(64), w=torch.ones(16))
    torch.testing.assert_close(names["y"], torch.view_as_real(names["z"]))
