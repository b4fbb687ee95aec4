"""Downloads, from a server on this machine."""

from __future__ import annotations

import hashlib
import http.server
import os
import pickle
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from maskrcnn_benchmark.checkpoint.errors import CheckpointError
from maskrcnn_benchmark.config import ConfigError
from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.config.paths_catalog import ModelCatalog
from maskrcnn_benchmark.utils.checkpoint import DetectronCheckpointer
from maskrcnn_benchmark.utils.model_zoo import cache_url
from tests.support.processes import free_port, run_in_processes

CONTENT = bytes(range(256)) * 1000
SUM = hashlib.sha256(CONTENT).hexdigest()
CONFIGS = Path(__file__).parents[2] / "configs"


class Server:
    """Serves `files` by path and counts requests; a path with /cut/ in it breaks off in the middle."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append(self.path)
                content = outer.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                time.sleep(0.2)  # long enough for several processes to meet
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if "/cut/" in self.path else content)

            def log_message(self, *args: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def server(monkeypatch):
    for name in ("MRB_MODELS", "MRB_MODEL_MIRROR", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_a_file_is_fetched_once(server, tmp_path):
    server.files["/some/folder/model_final.pkl"] = CONTENT
    url = f"{server.url}/some/folder/model_final.pkl"
    path = cache_url(url, str(tmp_path / "new" / "folder"), progress=False)
    assert path == str(tmp_path / "new" / "folder" / "_some_folder_model_final.pkl")
    assert Path(path).read_bytes() == CONTENT and files_in(Path(path).parent) == ["_some_folder_model_final.pkl"]
    assert cache_url(url, str(tmp_path / "new" / "folder"), progress=False) == path
    assert len(server.requests) == 1


def test_where_files_are_kept(server, tmp_path, monkeypatch):
    server.files["/a/x.pkl"] = CONTENT
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    assert cache_url(f"{server.url}/a/x.pkl") == str(tmp_path / "torch" / "hub" / "checkpoints" / "_a_x.pkl")
    monkeypatch.setenv("MRB_MODELS", str(tmp_path / "ours"))
    assert cache_url(f"{server.url}/a/x.pkl") == str(tmp_path / "ours" / "_a_x.pkl")
    assert os.stat(tmp_path / "ours" / "_a_x.pkl").st_mode & 0o444 == 0o444


def test_checksums_in_names(server, tmp_path):
    good, bad = f"/r-{SUM[:8]}.pth", "/r-00000000.pth"
    server.files |= {good: CONTENT, bad: CONTENT, "/R-50.pkl": CONTENT}
    assert cache_url(server.url + good, str(tmp_path)) == str(tmp_path / good[1:])
    cache_url(f"{server.url}/R-50.pkl", str(tmp_path))  # a depth, not a checksum
    with pytest.raises(CheckpointError, match=f"its SHA-256 begins with {SUM[:12]}, not with 00000000"):
        cache_url(server.url + bad, str(tmp_path))
    assert files_in(tmp_path) == sorted([good[1:], "_R-50.pkl"])


def test_a_broken_download_leaves_nothing_and_can_be_repeated(server, tmp_path, monkeypatch):
    server.files |= {"/cut/x.pkl": CONTENT, "/whole/cut/x.pkl": CONTENT}
    with pytest.raises(CheckpointError, match=f"broke off after {len(CONTENT) // 2} of {len(CONTENT)} bytes"):
        cache_url(f"{server.url}/cut/x.pkl", str(tmp_path))
    assert files_in(tmp_path) == []
    mirror = tmp_path / "mirror"
    (mirror / "cut").mkdir(parents=True)
    (mirror / "cut" / "x.pkl").write_bytes(CONTENT)
    monkeypatch.setenv("MRB_MODEL_MIRROR", mirror.as_uri())
    assert Path(cache_url(f"{server.url}/cut/x.pkl", str(tmp_path))).read_bytes() == CONTENT


def test_a_mirror_takes_the_hosts_place(server, tmp_path, monkeypatch):
    server.files["/mirrored/detectron/a.pkl"] = CONTENT
    monkeypatch.setenv("MRB_MODEL_MIRROR", f"{server.url}/mirrored/")
    path = cache_url("https://example.invalid/detectron/a.pkl", str(tmp_path))
    assert path == str(tmp_path / "_detectron_a.pkl") and Path(path).read_bytes() == CONTENT


def test_no_network_is_a_sentence(server, tmp_path):
    with pytest.raises(
        CheckpointError, match=r"\(Not Found\); bring the file to .*_x.pkl by hand, name a mirror in .*"
    ):
        cache_url(f"{server.url}/x.pkl", str(tmp_path))
    with pytest.raises(CheckpointError, match="Could not download http://127.0.0.1:.*refused.*MRB_MODEL_MIRROR"):
        cache_url(f"http://127.0.0.1:{free_port()}/x.pkl", str(tmp_path))
    with pytest.raises(CheckpointError, match="Could not download"):
        cache_url("https://example.invalid/x.pkl", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        threading.Thread(target=lambda: silent.accept()[0].close(), daemon=True).start()
        with pytest.raises(CheckpointError, match="Could not download"):
            cache_url(f"http://127.0.0.1:{silent.getsockname()[1]}/x.pkl", str(tmp_path))
    assert files_in(tmp_path) == []


def _fetch_and_read(url: str, folder: str) -> bytes:
    return Path(cache_url(url, folder, progress=False)).read_bytes()


def test_several_processes_fetch_once(server, tmp_path):
    server.files["/x.pkl"] = CONTENT
    assert run_in_processes(_fetch_and_read, f"{server.url}/x.pkl", str(tmp_path)) == [CONTENT, CONTENT]
    assert len(server.requests) == 1


def catalog_names() -> set[str]:
    weights = [yaml.safe_load(p.read_text()).get("MODEL", {}).get("WEIGHT", "") for p in CONFIGS.rglob("*.yaml")]
    return {w.removeprefix("catalog://") for w in weights if w.startswith("catalog://")}


def test_every_name_in_the_configurations_has_an_address():
    names = catalog_names()
    assert len(names) >= 10
    urls = {ModelCatalog.get(name) for name in names}
    assert len(urls) == len(names) and all(url.endswith(".pkl") for url in urls)


def test_addresses():
    detectron = "https://dl.fbaipublicfiles.com/detectron"
    assert ModelCatalog.get("ImageNetPretrained/MSRA/R-50") == f"{detectron}/ImageNetPretrained/MSRA/R-50.pkl"
    # As Detectron's MODEL_ZOO.md gives it.
    assert ModelCatalog.get("Caffe2Detectron/COCO/35858933/e2e_mask_rcnn_R-50-FPN_1x") == (
        f"{detectron}/35858933/12_2017_baselines/e2e_mask_rcnn_R-50-FPN_1x.yaml.01_48_14.DzEQe4wC/output/train/"
        "coco_2014_train%3Acoco_2014_valminusminival/generalized_rcnn/model_final.pkl"
    )
    keypoints = ModelCatalog.get("Caffe2Detectron/COCO/37697547/e2e_keypoint_rcnn_R-50-FPN_1x")
    assert "/keypoints_coco_2014_train%3Akeypoints_coco_2014_valminusminival/" in keypoints
    for name in ("", "ImageNetPretrained/R-51", "MSRA/R-50", "Caffe2Detectron/COCO/1/x"):
        with pytest.raises(
            ConfigError, match="There is no model .* in the catalog; give MODEL.WEIGHT the path or the URL"
        ):
            ModelCatalog.get(name)


@pytest.mark.parametrize("weight", ["catalog://ImageNetPretrained/MSRA/R-50", "URL"])
def test_weights_are_loaded_by_name_and_by_address(server, tmp_path, monkeypatch, weight):
    folder = "/detectron/ImageNetPretrained/MSRA/"
    value = np.arange(16, dtype=np.float32).reshape(4, 4)
    server.files[folder + "R-50.pkl"] = pickle.dumps({"blobs": {"fc6_w": value}}, protocol=2)
    monkeypatch.setenv("MRB_MODEL_MIRROR", server.url)
    monkeypatch.setenv("MRB_MODELS", str(tmp_path))
    model = torch.nn.ModuleDict(
        {"box": torch.nn.ModuleDict({"feature_extractor": torch.nn.ModuleDict({"fc6": torch.nn.Linear(4, 4)})})}
    )
    DetectronCheckpointer(defaults, model).load(weight.replace("URL", f"http://example.invalid{folder}R-50.pkl"))
    assert torch.equal(model["box"]["feature_extractor"]["fc6"].weight, torch.from_numpy(value))
