"""Several ranks do what one does: the same mathematics, in as many processes as mpiexec starts."""

import importlib.util
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import ranks
from PIL import Image
from running import EXAMPLES
from safetensors.numpy import load_file

from minigan.training import checkpoint

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mpi4py") is None or ranks.MPIEXEC is None,
    reason="needs mpi4py and an MPI: pip install 'minigan[mpi]'",
)

APART = "gaussian_1d", "few_steps", "statistics_of_each", "refusals"


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """All runs on two ranks."""
    return ranks.run(tmp_path_factory.mktemp("two"), 2, *ranks.RUNS)


def difference(found: dict, expected: dict) -> float:
    """The largest difference of arrays, relative to the largest number in each."""
    assert found.keys() == expected.keys()
    return max(
        np.abs(found[key] - y).max() / max(np.abs(y).max(), 1e-300) if np.size(y) else 0.0
        for key, y in expected.items()
    )


@pytest.mark.parametrize("name", [name for name in ranks.RUNS if name not in APART])
def test_two_ranks_are_one_process_of_twice_the_batch(two, name):
    """In float64: 50 steps of whole games, and by themselves the parts that look across a batch."""
    assert difference(two[name], ranks.RUNS[name]()) < 1e-9


def test_a_mean_that_is_left_out_is_noticed(two):
    expected = ranks.statistics_of_each()
    assert difference(two["statistics_of_each"], expected) > 1e-3


def test_the_stand_in_for_nccl_refuses_what_nccl_does(two):
    argument, usage = 4, 5
    assert two["refusals"]["statuses"].tolist() == [argument] * 4 + [usage]


def test_in_float32_the_numbers_agree(two):
    assert difference(two["gaussian_1d"], ranks.gaussian_1d()) < 1e-4


def test_four_ranks_on_fewer_cores(tmp_path):
    found = ranks.run(tmp_path, 4, "few_steps", "batch_norm", "history")
    for name, arrays in found.items():
        assert difference(arrays, ranks.RUNS[name]()) < 1e-9


# --- A run that behaves as one -------------------------------------------------------------------

HELPERS = Path(ranks.__file__).parent
TWO = [ranks.MPIEXEC or "mpiexec", "-n", "2", sys.executable]
SMALL = "--size 8 --batch 8 --width 4 --hidden 8 --latent 4 --samples 4 --every 5 --steps"


@pytest.fixture(scope="module")
def dcgan(tmp_path_factory):
    """A function that begins or goes on with dcgan_mnist.py on small images, as a program."""
    home = tmp_path_factory.mktemp("dcgan")
    (home / "images").mkdir()
    for k in range(40):
        Image.fromarray(ranks.IMAGES[k, ..., 0]).save(home / "images" / f"{k}.png")

    def start(out, steps, *more):
        command = [
            sys.executable,
            EXAMPLES["dcgan_mnist"],
            *SMALL.split(),
            steps,
            "--data",
            home / "images",
        ]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command += ["--out", home / out, *more]
        process = subprocess.Popen([str(word) for word in command], **pipes)
        process.folder = home / out
        return process

    return start


def ended(process) -> tuple[int, str, str]:
    """The status of a program, what it printed, and the last line that it said beside."""
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err.strip().splitlines()[-1:]


@pytest.fixture(scope="module")
def whole(dcgan):
    """Ten steps of two ranks: what they printed, and their folder."""
    process = dcgan("whole", 10, "--ranks", 2)
    status, out, _ = ended(process)
    assert status == 0
    return out, process.folder


def test_two_ranks_print_draw_and_write_as_one(dcgan, whole):
    process, (out, folder) = dcgan("alone", 10), whole
    said, at = [re.sub(r"\d+ s; .*", "", text) for text in (ended(process)[1], out)]
    assert said == at and len(out.splitlines()) == 1
    names = [sorted(file.name for file in there.iterdir()) for there in (process.folder, folder)]
    assert names[0] == names[1]
    records = [
        load_file(there / checkpoint.NAME)["record/rows"] for there in (process.folder, folder)
    ]
    np.testing.assert_allclose(*records, atol=1e-4)


def test_a_run_goes_on_with_as_many_ranks_to_the_bit_and_with_another_number(dcgan, whole):
    expected = load_file(whole[1] / checkpoint.NAME)
    half = dcgan("half", 5, "--ranks", 2)
    assert ended(half)[0] == 0
    for count in (2, 1):
        shutil.copytree(half.folder, half.folder.with_name(f"on{count}"))
        process = dcgan(f"on{count}", 10, "--resume", "--ranks", count)
        assert ended(process)[0] == 0
        found = load_file(process.folder / checkpoint.NAME)
        same = all(np.array_equal(found[key], value) for key, value in expected.items())
        assert same == (count == 2)
        np.testing.assert_allclose(found["record/rows"], expected["record/rows"], atol=1e-4)


def test_a_signal_stops_all_after_one_step_and_one_save(dcgan):
    process = dcgan("signal", 10**6, "--ranks", 2)
    while not (process.folder / checkpoint.NAME).exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    status, out, _ = ended(process)
    assert status == 128 + signal.SIGTERM and out.endswith("saved: go on with --resume\n")
    (done,) = re.findall(r"([\d,]+) steps on", out)
    assert checkpoint.peek(process.folder / checkpoint.NAME)["step"] == int(done.replace(",", ""))


def test_a_mistake_is_one_line_of_the_first_rank(dcgan, tmp_path):
    run = dcgan("mistake", 5, "--ranks", 3)
    said = "error: a batch of 8 can't be shared by 3 ranks: wanted a multiple of 3"
    assert ended(run) == (2, "", [said])
    other = [sys.executable, EXAMPLES["gaussian_1d"], "--steps", "1", "--out", tmp_path]
    alone = subprocess.Popen([*TWO[:-1], *other], stderr=subprocess.PIPE, text=True)
    assert alone.communicate()[1] == "error: 2 ranks: this example runs as one process\n"
    assert alone.returncode == 2


PROGRAMS = {  # what each rank does, and the line that one of them says
    "options": (
        "options.parse(p, ['--seed', str(rank)])",
        "ranks were started with different options: rank 1 has seed 1, rank 0 0",
    ),
    "data": (
        "with training.Session(args, about='ring' if rank else 'grid', total=1): pass",
        "ranks were started with different data: rank 1 has data ring, rank 0 grid",
    ),
    "weights": (
        "G.parameters()[0].data[0] += rank; checkpoint.save(args.out / 'x', {'G': G})",
        "not saved, as 2 ranks differ in G/0.weight",
    ),
    "GPUs": (
        "add(fake_device(devices=1))",
        "device 'cuda': 2 ranks here, but GPUs: 1; each needs its own",
    ),
    "arguments": (
        "Ranks.PATIENCE = 0.1\n options.parse(p, ['--steps', 'x'] if rank else [])",
        "a rank ended with status 2",
    ),
    "one alone": (
        "Ranks.PATIENCE = 0.1\n if rank == 0: time.sleep(60)\n raise OptionError('I alone')",
        "I alone",
    ),
}
PROGRAM = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from fake_device import fake_device
from minigan import cpu, training
from minigan.backend import add
from minigan.models import mlp
from minigan.system import world
from minigan.system.parallel import Ranks
from minigan.training import OptionError, checkpoint, options
p = options.parser("", out=sys.argv[1], steps=1, parallel=True)
G = mlp([2, 2], rng=cpu.generator(0))
def main():
 rank = world().rank
 args = options.parse(p, [])
 {}
training.run(main)
"""


@pytest.mark.parametrize("name", PROGRAMS)
def test_ranks_that_differ_end_together_with_one_line(tmp_path, name):
    does, says = PROGRAMS[name]
    command = [*TWO, "-c", PROGRAM.format(does), str(tmp_path), str(HELPERS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and says in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not (tmp_path / "x").exists()


THREADS = r"""
import numpy, scipy.linalg
from minigan.system import cores, world
cores.share = lambda processes: processes + 1
world()
import ctypes, re
maps = open("/proc/self/maps").read()
names = [name.replace("set", "get") for name in cores.SETTERS]
libraries = map(ctypes.CDLL, set(re.findall(r"/\S*openblas\S*[.]so\S*", maps)))
found = {getattr(one, name)() for one in libraries for name in names if hasattr(one, name)}
if world().rank == 0:
    print(*found)
"""


def test_ranks_share_the_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    done = subprocess.run([*TWO, "-c", THREADS], capture_output=True, text=True, timeout=600)
    assert done.stdout.split() == ["3"]
