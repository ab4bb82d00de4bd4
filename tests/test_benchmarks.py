"""The benchmarks as a user runs them with --quick: they run, results agree, files are written.

Nothing here asserts a time. What is compared with PyTorch is skipped where it isn't installed.
"""

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TORCH = importlib.util.find_spec("torch") is not None


def quick(name, folder):
    """Runs a benchmark with --quick; returns what it printed and its JSON, having seen its PNG."""
    done = subprocess.run(
        [sys.executable, "-W", "error", BENCHMARKS / f"{name}.py", "--quick", "--out", folder],
        capture_output=True,
        text=True,
        env={**os.environ, "OPENBLAS_CORETYPE": "Haswell"},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    with Image.open(folder / f"{name}.png") as image:
        assert image.size[0] > 600
    return done.stdout, json.loads((folder / f"{name}.json").read_text())


@pytest.fixture
def benchmark(monkeypatch):
    """A function that imports a file of benchmarks/."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def test_vs_pytorch(tmp_path):
    out, record = quick("vs_pytorch", tmp_path)
    assert record.keys() == {"machine", "settings", "parity", "tasks", "bars"}
    assert record["machine"]["variables_found"]["OPENBLAS_CORETYPE"] == "Haswell"
    assert record["tasks"].keys() == {"DCGAN-28", "1-D GAN", "WGAN-GP critic"}
    for task, found in record["tasks"].items():
        rows = found["1"]["engines"]
        ours, theirs = rows["minigan"], rows["PyTorch"]
        assert ours["ms"] > 0 and ours["peak_mb"] > 0 and np.isfinite(ours["losses"]).all()
        assert "OPENBLAS_CORETYPE" not in ours["variables"]
        assert ours["variables"]["OMP_NUM_THREADS"] == "1"
        if TORCH:
            assert ours["ratio"] > 0 and theirs["ratio"] == 1
            np.testing.assert_allclose(ours["losses"], theirs["losses"], rtol=1e-3, atol=1e-3)
            assert record["parity"][task]["largest"] <= 1e-4
        else:
            assert "torch" in theirs["absent"] and "ratio" not in ours
    assert "OPENBLAS_CORETYPE=Haswell" in out and ("parity: DCGAN-28" in out) == TORCH


def test_scaling(tmp_path):
    out, record = quick("scaling", tmp_path)
    assert record["sweeps"].keys() == {"batch", "width", "tape", "tape, no collector", "data"}
    for sweep in record["sweeps"].values():
        assert len(sweep["sizes"]) == len(sweep["seconds"]) and min(sweep["seconds"]) > 0
        assert np.isfinite(sweep["exponent"])
    assert record["machine"]["variables_found"]["OPENBLAS_CORETYPE"] == "Haswell"
    assert "operations in a chain" in out


def test_per_op(tmp_path):
    out, record = quick("per_op", tmp_path)
    assert {"add", "mul", "relu", "matmul", "linear"} < record["operations"].keys()
    for passes in record["operations"].values():
        assert passes.keys() == {"forward", "backward", "twice"}
        for found in passes.values():
            assert found["overhead"] == pytest.approx(found["tape"] - found["raw"])
    assert all(step["peak_bytes"] > 0 for step in record["steps"].values())
    assert "fwd + bwd" in out


# --- The parts -----------------------------------------------------------------------------------


def test_the_flops_of_a_dcgan_step_by_another_count(benchmark):
    """Every product once more, from the loops of a convolution, at the smallest size."""
    engines, vs_pytorch = benchmark("engines"), benchmark("vs_pytorch")
    n, w, latent = 3, 2, 5
    taps, small, large = 4 * 4, 7 * 7, 14 * 14
    layers_of_d = [n * large * taps * w, n * small * taps * w * 2 * w, n * small * 2 * w]
    layers_of_g = [n * latent * small * 2 * w, n * small * taps * 2 * w * w, n * large * taps * w]
    # How often a layer of D is applied or differentiated: 3 forward, 2 filter gradients, and
    # input gradients, of which D's step needs none for its first layer. Of G's: 1, 1, and 1.
    expected = sum(2 * k * f for k, f in zip((6, 8, 8), layers_of_d, strict=True))
    expected += sum(2 * k * f for k, f in zip((2, 3, 3), layers_of_g, strict=True))
    task = engines.Task("dcgan", batch=n, width=w, latent=latent)
    assert vs_pytorch.flops_of_dcgan_step(task) == expected
    assert vs_pytorch.flops_of_dcgan_step(engines.TASKS["DCGAN-28"]) == pytest.approx(9.4e9, 0.02)


def test_a_child_gets_no_blas_variable_but_the_number_of_threads(benchmark, monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.setenv("UNRELATED", "kept")
    environment = benchmark("process").clean_environment(3)
    assert "OPENBLAS_CORETYPE" not in environment and "OMP_WAIT_POLICY" not in environment
    assert environment["OMP_NUM_THREADS"] == "3" and environment["UNRELATED"] == "kept"


def test_a_worker_takes_turns_and_says_why_it_cannot(benchmark):
    arena, engines, process = (benchmark(name) for name in ("arena", "engines", "process"))
    task = engines.Task("product", batch=1, width=16)
    environment = process.clean_environment(1)
    worker = arena.Worker(arena.Contestant("matrix_peak", "product", {}, task, 1), environment)
    turns = arena.play({"peak": worker}, rounds=2, seconds=0.01)["peak"]
    now, peak = worker.memory()
    worker.close()
    assert len(turns) == 2 and all(turn.steps > 0 and turn.seconds > 0 for turn in turns)
    assert not now > peak
    for module, reason in (("with_nothing", "not installed"), ("matrix_peak", "AttributeError")):
        with pytest.raises(engines.Absent, match=reason):
            arena.Worker(arena.Contestant(module, "no_such_step", {}, task, 1), environment)


@pytest.mark.skipif(not TORCH, reason="needs PyTorch")
def test_gradients_that_differ_end_the_benchmark(benchmark, monkeypatch):
    vs_pytorch = benchmark("vs_pytorch")
    wrong = {"DCGAN-28": {"seed": 5, "largest": 0.1, "errors": {"D 0.weight": 0.1}}}
    answer = SimpleNamespace(returncode=0, stdout=json.dumps(wrong), stderr="")
    monkeypatch.setattr(vs_pytorch.subprocess, "run", lambda *args, **kwargs: answer)
    with pytest.raises(SystemExit, match=r"DCGAN-28: the gradient of D 0\.weight differs"):
        vs_pytorch.check_parity(quick=True)


def test_losses_that_differ_end_the_benchmark(benchmark):
    vs_pytorch = benchmark("vs_pytorch")
    engines = {"minigan": {"losses": [1.0, 0.5]}, "PyTorch": {"absent": "not installed"}}
    vs_pytorch.check_losses("task", engines)
    with pytest.raises(SystemExit, match="JAX jit's first losses"):
        vs_pytorch.check_losses("task", engines | {"JAX jit": {"losses": [1.0, 0.6]}})


def test_a_slope_is_found_and_a_bar_is_judged(benchmark):
    measure = benchmark("measure")
    assert measure.fitted_exponent([1, 10, 100], [2.0, 63.245553, 2000.0]) == pytest.approx(1.5)
    verdicts = [measure.Bar("", 1.0, value).verdict for value in (0.9, 1.0, 1.1, None)]
    assert verdicts == ["met", "met", "missed", "not measured"]
