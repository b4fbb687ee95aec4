"""The container's files against their linters and schemas, and against each other."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
MANIFESTS = sorted((DOCKER / "kubernetes").glob("*.yaml"))
STOPPED = [130, 138, 143]  # 128 and SIGINT, SIGUSR1, SIGTERM


def tool(name: str) -> str:
    """A command of the extra `docker`, from beside the interpreter or the PATH."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f'{name} is not installed; pip install -e ".[docker]"')
    return found


def passes(*command: str | Path) -> None:
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def kind(path: Path, name: str) -> dict[str, Any]:
    return next(document for document in documents(path) if document["kind"] == name)


def test_shell_scripts():
    scripts = [*ROOT.glob(".ci/*.sh"), ROOT / ".ci" / "run", *DOCKER.rglob("*.sh"), *DOCKER.rglob("*.sbatch")]
    passes(tool("shellcheck"), *scripts)
    assert all("set -euo pipefail" in path.read_text() for path in scripts)


def test_dockerfiles():
    passes(tool("hadolint"), *DOCKER.rglob("Dockerfile"))


@pytest.mark.parametrize("path", sorted(DOCKER.rglob("Dockerfile")), ids=lambda path: path.parent.name)
def test_an_image_ends_without_root_and_holds_nothing_of_a_machine(path):
    text = path.read_text()
    assert re.findall(r"^USER (.*)", text, re.M)[-1] == "1000"
    assert not re.search(r"https?://|trusted-host|/etc/pip|\.crt\b", text)


def test_what_the_dockerfile_copies_is_in_the_context():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert lines[1] == "*"
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (DOCKER / "Dockerfile").read_text(), re.M)
    assert {name for names in copies for name in names.split()} <= allowed | {"."}
    assert {"configs", "tools"} <= allowed


def test_compose_file():
    passes(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", DOCKER / "compose.yaml")
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    assert set(services) == {"train", "jupyter"}
    for service in services.values():
        assert service["shm_size"] and service["volumes"]
        assert service["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
        build = service["build"]
        assert (DOCKER / build["context"] / build.get("dockerfile", "Dockerfile")).resolve().is_file()
    assert services["jupyter"]["ports"][0].startswith("127.0.0.1:")


def test_indexed_job_against_kubernetes():
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    for document in documents(DOCKER / "kubernetes" / "indexed-job.yaml"):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def check_model(value: Any, type_name: str, where: str, models: Any) -> None:
    """Fail for a field that the operator's types do not have, or of another type."""
    if type_name == "V1PodTemplateSpec":
        kubernetes_validate = pytest.importorskip("kubernetes_validate")
        template = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": value}
        kubernetes_validate.validate(template, kubernetes_validate.latest_version(), strict=True)
    elif inner := re.fullmatch(r"dict\(str, (.+)\)", type_name):
        for key, item in value.items():
            check_model(item, inner[1], f"{where}.{key}", models)
    elif hasattr(models, type_name):
        model = getattr(models, type_name)
        types = {model.attribute_map[name]: kind for name, kind in model.openapi_types.items()}
        assert set(value) <= set(types), f"{where} has no {sorted(set(value) - set(types))}"
        for key, item in value.items():
            check_model(item, types[key], f"{where}.{key}", models)
    elif type_name in ("int", "str", "bool"):
        assert type(value).__name__ == type_name, f"{where} is {value!r}, not of type {type_name}"


def test_pytorchjob_against_the_operator():
    models = pytest.importorskip("kubeflow.training.models")
    job = kind(DOCKER / "kubernetes" / "pytorchjob.yaml", "PyTorchJob")
    assert job["apiVersion"] == "kubeflow.org/v1"
    check_model(job["spec"], "KubeflowOrgV1PyTorchJobSpec", "spec", models)
    with pytest.raises(AssertionError, match="has no"):
        check_model({"runPolcy": {}}, "KubeflowOrgV1PyTorchJobSpec", "spec", models)
    replicas = job["spec"]["pytorchReplicaSpecs"]
    assert {name: spec["replicas"] for name, spec in replicas.items()} == {"Master": 1, "Worker": 1}
    for spec in replicas.values():
        assert spec["restartPolicy"] in {"Always", "OnFailure", "Never", "ExitCode"}
        (container,) = spec["template"]["spec"]["containers"]
        assert container["name"] == "pytorch" and container["ports"][0]["name"] == "pytorchjob-port"


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_pods(path):
    """What both ways of running on Kubernetes have in common."""
    claims = {d["metadata"]["name"] for d in documents(DOCKER / "kubernetes" / "indexed-job.yaml")}
    spec = documents(path)[-1]["spec"]
    templates = [r["template"] for r in spec.get("pytorchReplicaSpecs", {}).values()] or [spec["template"]]
    nodes = spec.get("completions") or sum(r["replicas"] for r in spec["pytorchReplicaSpecs"].values())
    for template in templates:
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"] and pod["terminationGracePeriodSeconds"] >= 120
        (container,) = pod["containers"]
        assert "command" not in container  # it would take the place of the image's entrypoint
        arguments = container["args"]
        assert arguments[:2] == ["python", "tools/launch.py"] and f"--nnodes={nodes}" in arguments
        gpus = container["resources"]["limits"]["nvidia.com/gpu"]
        assert f"--nproc_per_node={gpus}" in arguments
        assert (ROOT / arguments[arguments.index("--config-file") + 1]).is_file()
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounts = {mount["mountPath"]: volumes.pop(mount["name"]) for mount in container["volumeMounts"]}
        assert not volumes
        assert mounts["/dev/shm"]["emptyDir"]["medium"] == "Memory"
        for folder in ("datasets", "runs"):
            assert mounts[f"/workspace/{folder}"]["persistentVolumeClaim"]["claimName"] in claims


def test_indexed_job_belongs_together():
    path = DOCKER / "kubernetes" / "indexed-job.yaml"
    service, job = kind(path, "Service"), kind(path, "Job")
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed" and spec["completions"] == spec["parallelism"]
    template = spec["template"]
    (container,) = template["spec"]["containers"]
    name, host = service["metadata"]["name"], f"{job['metadata']['name']}-0"
    assert service["spec"]["clusterIP"] == "None" and template["spec"]["subdomain"] == name
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    assert f"--master_addr={host}.{name}" in container["args"]
    assert f"--master_port={service['spec']['ports'][0]['port']}" in container["args"]
    rules = spec["podFailurePolicy"]["rules"]
    assert [rule["action"] for rule in rules] == ["Ignore", "Ignore"]
    assert rules[0]["onPodConditions"][0]["type"] == "DisruptionTarget"
    assert rules[1]["onExitCodes"]["values"] == STOPPED
    assert rules[1]["onExitCodes"]["containerName"] == container["name"]
    assert template["spec"]["restartPolicy"] == "Never"  # or the API refuses the policy
