"""docker/slurm/train.sbatch with commands in the place of Slurm's that end as they are told."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docker" / "slurm" / "train.sbatch"
# Options of sbatch, with what they take.
OPTIONS = {
    "job-name": r"[\w-]+",
    "nodes": r"\d+(-\d+)?",
    "ntasks-per-node": "1",  # torchrun starts the processes
    "gpus-per-node": r"(\w+:)?\d+",
    "cpus-per-task": r"\d+",
    "time": r"(\d+-)?\d+:\d\d:\d\d",
    "output": r"[\w%/.-]+",
    "open-mode": "append",  # or a restarted job would begin its log anew
    "requeue": None,
    "signal": r"B:USR1@\d+",
}
COMMANDS = {
    # On the second of two nodes; srun forwards signals, as does a process that becomes the command.
    "srun": 'while [[ $1 == --* ]]; do echo "$1" >>srun.log; shift; done\nSLURM_NODEID=1 exec "$@"',
    "scontrol": """case "$*" in
        "show hostnames node[1-2]") printf 'node1\\nnode2\\n' ;;
        "show job 12345") echo "JobId=12345 JobState=${JOB_STATE:-RUNNING}" ;;
        requeue*) echo "$*" >>requeued.log; exit "${REQUEUE_STATUS:-0}" ;;
        *) exit 99 ;;
    esac""",
    "python": """echo "$PET_NODE_RANK $*" >python.log
    if [ -n "${ON_SIGNAL:-}" ]; then
        trap 'sleep 0.3; exit "$ON_SIGNAL"' USR1
        touch started
        for _ in {1..100}; do sleep 0.1; done
    fi
    exit "${STATUS:-0}" """,
    "apptainer": 'echo "$*" >apptainer.log',
}


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Starts the script as Slurm would, in an empty folder."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, body in COMMANDS.items():
        (bin_folder / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (bin_folder / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)

    def start(*arguments: str, **environment: str) -> subprocess.Popen:
        slurm = {"SLURM_JOB_ID": "12345", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "node[1-2]"}
        env = {"PATH": f"{bin_folder}:{os.environ['PATH']}", **slurm, "SLURM_CPUS_PER_TASK": "8", **environment}
        words = arguments or ("--config-file", "a b.yaml", "OUTPUT_DIR", "runs/x")
        return subprocess.Popen(
            ["bash", str(SCRIPT), *words], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    return start


def end(process: subprocess.Popen) -> tuple[int, bool, str]:
    """The exit status, whether the job was queued again, and what was printed."""
    output, _ = process.communicate(timeout=30)
    requeued = Path("requeued.log")
    return process.returncode, requeued.exists() and requeued.read_text() == "requeue 12345\n", output


def test_options():
    lines = SCRIPT.read_text().splitlines()
    first_command = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    options = {}
    for number, line in enumerate(lines):
        if line.startswith("#SBATCH"):
            assert number < first_command  # sbatch stops reading at the first command
            name, _, value = line.removeprefix("#SBATCH --").partition("=")
            options[name] = value
    assert set(options) == set(OPTIONS)
    for name, pattern in OPTIONS.items():
        assert re.fullmatch(pattern or "", options[name]), (name, options[name])
    # Time for what tools/launch.py waits for before it kills.
    launcher = (SCRIPT.parents[2] / "maskrcnn_benchmark" / "cli" / "launch.py").read_text()
    seconds = re.search(r'TIMEOUT = "(\d+)"', launcher)
    assert seconds and int(options["signal"].partition("@")[2]) > int(seconds[1])


def test_command(job):
    assert end(job())[:2] == (0, False)
    rank, *words = Path("python.log").read_text().split(maxsplit=3)
    assert (rank, words[0], words[1]) == ("1", "tools/launch.py", "--nnodes=2")
    assert Path("python.log").read_text().split(maxsplit=3)[3] == (
        "--nproc_per_node=gpu --master_addr=node1 --master_port=22345 tools/train_net.py --config-file a b.yaml "
        "OUTPUT_DIR runs/x\n"
    )
    assert "--cpus-per-task=8" in Path("srun.log").read_text()


def test_container(job, tmp_path):
    assert end(job(IMAGE="image.sif", NPROC_PER_NODE="4"))[:2] == (0, False)
    folders = f"{tmp_path}/datasets:/workspace/datasets,{tmp_path}/runs:/workspace/runs"
    words = Path("apptainer.log").read_text()
    assert words.startswith(f"exec --nv --pwd /workspace --bind {folders} image.sif python tools/launch.py --nnodes=2")
    assert "--nproc_per_node=4" in words


@pytest.mark.parametrize("status", [130, 138, 143])
def test_a_stopped_run_is_queued_again(job, status):
    code, requeued, output = end(job(STATUS=str(status)))
    assert (code, requeued) == (0, True), output


@pytest.mark.parametrize("status", [1, 2, 127, 137, 139])
def test_a_failed_run_is_not(job, status):
    code, requeued, output = end(job(STATUS=str(status)))
    assert (code, requeued) == (status, False)
    assert f"error: the training ended with status {status}" in output


@pytest.mark.parametrize(("status", "expected"), [(143, (0, True)), (0, (0, False)), (1, (1, False))])
def test_the_warning_reaches_the_training(job, status, expected):
    """What counts is how the training ended after the signal: it may have been done, or failed."""
    process = job(ON_SIGNAL=str(status))
    for _ in range(200):
        if Path("started").exists():
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGUSR1)
    code, requeued, output = end(process)
    assert (code, requeued) == expected, output


def test_a_cancelled_job_stays_cancelled(job):
    code, requeued, output = end(job(STATUS="143", JOB_STATE="CANCELLED"))
    assert (code, requeued) == (143, False) and "cancelled" in output


def test_restarts_have_a_limit(job):
    code, requeued, output = end(job(STATUS="143", SLURM_RESTART_COUNT="3", MAX_RESTARTS="3"))
    assert (code, requeued) == (143, False) and "restarted 3 times" in output


def test_a_refused_requeue_is_said(job):
    code, _, output = end(job(STATUS="143", REQUEUE_STATUS="1"))
    assert code == 143 and "could not be queued again; the same sbatch command" in output


def test_no_arguments(job):
    done = subprocess.run(["bash", str(SCRIPT)], capture_output=True, text=True)
    assert done.returncode == 2 and "name a configuration" in done.stderr
