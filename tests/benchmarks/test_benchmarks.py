"""The benchmarks as a user runs them with --quick: they run, results agree, files are written.

Nothing here asserts a time. What is compared with PyTorch is skipped where it isn't installed.
"""

import importlib
import importlib.util
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import ranks
from checks import gpu_is_there
from PIL import Image

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TORCH = importlib.util.find_spec("torch") is not None


def quick(name, folder):
    """Runs a benchmark with --quick; returns what it printed and its JSON, having seen its PNG."""
    done = subprocess.run(
        [sys.executable, "-W", "error", BENCHMARKS / f"{name}.py", "--quick", "--out", folder],
        capture_output=True,
        text=True,
        env={**os.environ, "OPENBLAS_CORETYPE": "Haswell"},
        timeout=300,
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
    assert record["tasks"].keys() == {"DCGAN-28", "1-D GAN", "WGAN-GP critic", "BigGAN-32"}
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
    engine = {"batch", "width", "tape", "tape, no collector", "data", "growing", "DCGAN"}
    metrics = {"modes", "nearest", "Parzen", "MMD", "Fréchet", "precision, recall"}
    assert record["sweeps"].keys() == engine | metrics
    for sweep in record["sweeps"].values():
        assert len(sweep["sizes"]) == len(sweep["seconds"]) and min(sweep["seconds"]) > 0
        assert np.isfinite(sweep["exponent"])
    for held in record["memory"].values():
        small, large = held["bytes_per_image"]
        assert 0 < small < large and np.isfinite(held["exponent"])
    assert record["machine"]["variables_found"]["OPENBLAS_CORETYPE"] == "Haswell"
    assert "operations in a chain" in out and "256, on paper" in out


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


def test_the_residual_gans_weights_are_named_and_shaped_as_minigans(benchmark):
    engines, residual = benchmark("engines"), benchmark("engines.residual")
    with_minigan = benchmark("engines.with_minigan")
    for task in (engines.TASKS["BigGAN-32"], engines.QUICK_TASKS["BigGAN-32"]):
        networks = with_minigan.biggan_networks(task)[:2]
        for network, expected in zip(networks, residual.shapes(task), strict=True):
            found = {name: p.shape for name, p in network.named_parameters().items()}
            assert list(found.items()) == list(expected.items())


def test_a_size_on_paper_and_the_memory_of_an_image(benchmark):
    scaling = benchmark("scaling")
    assert scaling.on_paper([64, 128], [3.0, 12.0], 2.0) == pytest.approx(48)

    def holds(size, batch):
        return lambda: bytearray(100_000 + batch * size * size * 40)

    assert scaling.ON_PAPER == 256 and scaling.bytes_per_image(holds, 32) == pytest.approx(
        32 * 32 * 40, rel=0.01
    )


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


# --- On a GPU, as far as can be seen without one -------------------------------------------------


def without_gpu(name, *argv):
    """Runs a benchmark on a machine without a GPU; what it printed, and the complaint."""
    if gpu_is_there():
        pytest.skip("this machine has a GPU")
    done = subprocess.run(
        [sys.executable, "-W", "error", BENCHMARKS / f"{name}.py", *argv],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: device 'cuda'")
    return done.stdout


def test_cpu_vs_gpu(tmp_path):
    out, record = quick("cpu_vs_gpu", tmp_path)
    sizes = record["sizes"]
    assert {"step of a 1-D GAN", "convolution", "filter gradient"} < record["cases"].keys()
    for found in record["cases"].values():
        assert len(found["cpu"]) == len(sizes) and not found["failed"]
        assert all(timing["wall"] > 0 for timing in found["cpu"])
    if not gpu_is_there():
        assert "GPU: not measured" in out and record["transfers"] == "not measured"
        assert found["eager"] == found["captured"] == [None] * len(sizes)


def test_no_damage_to_a_checkpoint_goes_unnoticed(benchmark, tmp_path, capsys):
    mutations = benchmark("checkpoint_mutations")
    assert mutations.main(["--count", "2000", "--out", str(tmp_path / "kept")]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    name, tried, unchanged, refused, *others = last.split()
    assert (name, tried, others) == ("all", "2000", ["0"] * 4)
    assert int(unchanged) < 100 and int(unchanged) + int(refused) == 2000
    assert not (tmp_path / "kept").exists()


def test_damage_is_noticed_where_the_checksum_is_not(benchmark, tmp_path, capsys, monkeypatch):
    mutations = benchmark("checkpoint_mutations")
    monkeypatch.setattr(mutations.checkpoint, "_seal", lambda file, found: found)
    assert mutations.main(["--count", "300", "--out", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    kept = sorted(tmp_path.iterdir())
    assert f"faults; the first {len(kept)} files are in" in out and len(kept) > 5
    assert f"{kept[0].stem}, " in err and "wrong values, " in err
    assert mutations.main([str(kept[0]), "--out", str(tmp_path)]) == 1
    assert "given" in capsys.readouterr().out


def test_without_a_gpu_the_benchmarks_say_so_in_one_line(tmp_path):
    without_gpu("cpu_vs_gpu", "--out", tmp_path)
    without_gpu("vs_pytorch", "--device", "cuda", "--out", tmp_path)
    assert not any(tmp_path.iterdir())


def test_gpu_check_without_a_gpu_skips_every_part(tmp_path):
    out = without_gpu("gpu_check", "--out", tmp_path / "new")
    record = json.loads((tmp_path / "new" / "gpu_check.json").read_text())
    assert "numpy" in out and "error" in record["machine"]
    outcomes = {part["outcome"] for part in record["parts"].values()}
    assert outcomes == {"skipped"} and out.count("skipped") == len(record["parts"]) == 6


def test_gpu_check_runs_its_parts_whatever_comes_of_them(benchmark, tmp_path, capsys):
    gpu_check = benchmark("gpu_check")
    answer = '{"bars": [{"what": "speed", "limit": 1.0, "value": 0.5, "verdict": "met"}]}'
    write = "import sys, pathlib; p = pathlib.Path(sys.argv[1]); (p / 'a_2.png').write_text('2');"
    write += (
        "(p / 'a_1.png').write_text('1'); (p / 'r.json').write_text(sys.argv[2]); print('well')"
    )
    good = gpu_check.Part(
        "good", ("-c", write, "{out}", answer), 60, (), (("a_*.png", "a.png"),), "r.json"
    )
    chosen = [
        gpu_check.Part("bad", ("-c", "raise SystemExit('it broke')"), 60),
        gpu_check.Part("slow", ("-c", "import time; print('begun'); time.sleep(60)"), 1.5),
        gpu_check.Part("poor", ("-c", "pass"), 60, needs=("hypothesis",)),
        good,
    ]
    results = gpu_check.run_all(chosen, {"gpu": "any"}, tmp_path, time.perf_counter() + 100)
    outcomes = {name: (found["outcome"], found["reason"]) for name, found in results.items()}
    assert outcomes == {
        "bad": ("failed", "exit status 1: it broke"),
        "slow": ("failed", "ended after 2 s"),
        "poor": ("skipped", "hypothesis not installed"),
        "good": ("passed", ""),
    }
    assert (tmp_path / "a.png").read_text() == "2"
    text = (tmp_path / "gpu_check.txt").read_text()
    assert "it broke" in text and "begun" in text and "well" in text
    gpu_check.print_summary(results)
    assert "met" in capsys.readouterr().out and gpu_check.status_of({}, results) == 1
    assert gpu_check.status_of({}, {"good": results["good"]}) == 0


@pytest.mark.parametrize(("told", "verdict"), [("9", "met"), ("10", "missed")])
def test_gpu_check_judges_twenty_epochs_by_what_the_example_tells(benchmark, told, verdict):
    line = f"18,740 steps on mnist, {told} s; pictures: out"
    found = {"outcome": "passed", "last_line": line}
    (bar,) = benchmark("gpu_check").epochs_bar(found)
    assert (bar["value"], bar["verdict"]) == (float(told), verdict)
    (bar,) = benchmark("gpu_check").epochs_bar(found | {"outcome": "failed"})
    assert bar["verdict"] == "not measured"


def test_where_two_curves_cross(benchmark):
    crossing = benchmark("cpu_vs_gpu").crossing
    sizes = (16, 64, 256, 1024)
    cpu = [1e-6 * n for n in sizes]
    assert crossing(sizes, cpu, [1e-4] * 4) == pytest.approx(100)
    steps = [2e-6 * n**0.5 * 10 for n in sizes]  # 1e-6 n = 2e-5 √n at n = 400
    assert crossing(sizes, cpu, steps) == pytest.approx(400)
    assert crossing(sizes, cpu, [1e-9] * 4) == 16
    assert crossing(sizes, cpu, [1.0] * 4) is None
    # the last crossing counts, and points that are missing on either side don't
    assert crossing(sizes, cpu, [1e-9, 1e-3, 2.56e-4 / 4, 1e-9]) > 64
    assert crossing(sizes, [*cpu[:2], None, None], [1e-6, 1e-6, 1e-6, None]) == 16
    assert crossing(sizes, [None] * 4, [1e-6] * 4) is None


def test_the_cpu_is_left_out_where_it_would_take_too_long(benchmark):
    cpu_vs_gpu = benchmark("cpu_vs_gpu")
    plan = cpu_vs_gpu.Plan(None, (1, 10, 100), 0.001, time.perf_counter() + 60)
    found = cpu_vs_gpu.measure(lambda backend, n: lambda: time.sleep(0.02 * n), plan)
    assert [timing is None for timing in found["cpu"]] == [False, False, True]
    assert found["notes"] == ["batch 100: the CPU would take more than 1 s"]
    late = plan._replace(deadline=0)
    found = cpu_vs_gpu.measure(lambda backend, n: None, late)
    assert found["cpu"] == [None] * 3 and "time was up" in found["notes"][0]


def synthetic(vs_pytorch, ms: dict, memory: dict):
    """A contest's rows with the given milliseconds and device memory, by engine."""
    rows = {name: {"absent": "no compiler"} for name in vs_pytorch.GPU_ENGINES}
    for name, value in ms.items():
        rows[name] = {
            "ms": value, "ms_by_round": [value, value], "ms_quartiles": [value, value],
            "ratio": value / ms["PyTorch"], "ratio_quartiles": [value / ms["PyTorch"]] * 2,
            "share_of_peak": 0.1, "share_of_bandwidth": 0.2,
            "device_peak_mb": memory.get(name, 100.0), "device_held_mb": 200.0,
        }  # fmt: skip
    floors = {"floor_ms": 0.1, "flops": 1e9, "peak_gflops": 1e4, "cpus_used_by_others": 0.0}
    floors |= {"bytes_floor_ms": 0.2, "bytes": 1e9, "peak_gb_per_s": 4000.0}
    return {"2": {"engines": rows, "title": "DCGAN-28"} | floors}


def test_the_bars_of_the_gpu_on_results_made_up(benchmark, capsys, tmp_path):
    vs_pytorch, plots = benchmark("vs_pytorch"), benchmark("minigan.plots")
    small = {"minigan": 3.0, "minigan captured": 0.5, "PyTorch": 2.5, "PyTorch graph": 1.0,
             "PyTorch graph channels_last": 0.4, "PyTorch channels_last": 2.0}  # fmt: skip
    large = small | {"minigan captured": 4.0, "PyTorch channels_last": 5.0}
    results = {
        "batch 64": synthetic(vs_pytorch, small, {"minigan captured": 80.0}),
        "batch 1024": synthetic(vs_pytorch, large, {"minigan captured": 150.0}),
    }
    bars = vs_pytorch.judge_gpu(results)
    assert [bar.value for bar in bars] == pytest.approx([0.2, 1.25, 0.8, 1.2, 0.8, 1.5])
    assert [bar.limit for bar in bars] == [0.4, 1.0, 1.0, 1.5, 1.0, 1.0]
    verdicts = [bar.verdict for bar in bars]
    assert verdicts == ["met", "missed", "met", "met", "met", "missed"]
    half = vs_pytorch.judge_gpu({"batch 64": results["batch 64"]})
    assert [bar.value is None for bar in half] == [False, False, True, False, False, True]
    vs_pytorch.print_contest("batch 64", results["batch 64"]["2"])
    out = capsys.readouterr().out
    assert "device MB" in out and "4000 GB/s" in out and "absent (no compiler)" in out
    plots.save_figure(vs_pytorch.picture(results, "on a GPU"), tmp_path / "gpu.png")


def test_losses_that_differ_on_a_gpu_are_told_and_not_fatal(benchmark):
    vs_pytorch = benchmark("vs_pytorch")
    ours = {"losses": [1.4, 0.7], "warm_losses": [1.2, 0.6]}
    graph = ours | {"warm_losses": [1.2, float("nan")]}
    engines = {"minigan": ours, "PyTorch": ours, "PyTorch graph": graph, "none": {"absent": "-"}}
    (line,) = vs_pytorch.differing_losses("task", engines, vs_pytorch.GPU_TOLERANCES["tf32"])
    assert "PyTorch graph's warm_losses" in line


def test_the_bytes_of_a_dcgan_step_by_another_count(benchmark):
    """Every product once more, layer by layer and pass by pass, at the smallest size."""
    engines, vs_pytorch = benchmark("engines"), benchmark("vs_pytorch")
    n, w, latent = 3, 2, 5
    d = [(784, 196 * w, 16 * w), (196 * w, 49 * 2 * w, 16 * 2 * w * w), (49 * 2 * w, 1, 49 * 2 * w)]
    g = [(latent, 49 * 2 * w, latent * 49 * 2 * w), d[1][1::-1] + d[1][2:], d[0][1::-1] + d[0][2:]]
    forward = g + 3 * d
    filters = 2 * d + g
    inputs = 2 * d[1:] + d + g[1:]
    numbers = sum(n * (i + o) + weight for i, o, weight in forward + filters + inputs)
    numbers += 7 * sum(weight for _, _, weight in d + g)
    task = engines.Task("dcgan", batch=n, width=w, latent=latent)
    assert vs_pytorch.bytes_of_dcgan_step(task) == 4 * numbers


def test_a_contestant_of_the_gpu_trains_on_the_device(benchmark, cuda):
    """As its worker would do it, and with the losses that the CPU has."""
    arena, engines = benchmark("arena"), benchmark("engines")
    (task,) = engines.gpu_tasks(quick=True, precision="float32").values()
    on_cpu = task._replace(device="cpu")
    expected = arena.prepare(arena.Contestant("with_minigan", "dcgan", {}, on_cpu, 1))[2]
    for options in ({}, {"captured": True}):
        contestant = arena.Contestant("with_minigan", "dcgan", options, task, 1)
        engine, step, facts = arena.prepare(contestant)
        for key, tolerance in benchmark("vs_pytorch").GPU_TOLERANCES["float32"].items():
            np.testing.assert_allclose(facts[key], expected[key], rtol=tolerance)
        turn = arena.take_turn(engine, step, 0.01)
        memory = engine.device_memory(step)
        assert turn.seconds > 0 and memory["held_mb"] >= memory["peak_mb"] > 0


def test_the_peaks_of_the_gpu_are_measured(benchmark, cuda):
    arena, vs_pytorch = benchmark("arena"), benchmark("vs_pytorch")
    (task,) = benchmark("engines").gpu_tasks(quick=True, precision="float32").values()
    contestants = vs_pytorch.contestants(task, 1)
    assert list(contestants)[-2:] == [vs_pytorch.PEAK, vs_pytorch.COPY]
    turns = {}
    for name in (vs_pytorch.PEAK, vs_pytorch.COPY):
        engine, step, _ = arena.prepare(contestants[name])
        turns[name] = [arena.take_turn(engine, step, 0.01)]
    found = vs_pytorch.floors(task, turns)
    assert min(found.values()) > 0
    assert vs_pytorch.shares(2 * found["bytes_floor_ms"], found)["share_of_bandwidth"] == 0.5


def test_cpu_vs_gpu_measures_a_device(benchmark, cuda, capsys, tmp_path):
    cpu_vs_gpu, timing = benchmark("cpu_vs_gpu"), benchmark("cuda_timing")
    plots = benchmark("minigan.plots")
    plan = cpu_vs_gpu.Plan(cuda, (1, 2), 0.001, time.perf_counter() + 100)
    makers = {"step": cpu_vs_gpu.mlp_gan, **cpu_vs_gpu.OPERATIONS}
    results = {name: cpu_vs_gpu.measure(make, plan) for name, make in makers.items()}
    for name, found in results.items():
        assert not found["failed"], (name, found["notes"])
        for way in ("eager", "captured"):
            assert all(t["wall"] > 0 and t["device"] > 0 and t["launch"] > 0 for t in found[way])
    moved = cpu_vs_gpu.transfers(plan)
    cpu_vs_gpu.print_results(results, plan.sizes, gpu=True)
    cpu_vs_gpu.print_transfers(moved)
    timing.print_gpu(timing.gpu_facts(cuda))
    out = capsys.readouterr().out
    assert "not measured" not in out and "Transfers" in out and "CuPy" in out
    figure = cpu_vs_gpu.picture(results, moved, plan.sizes, "a title")
    plots.save_figure(figure, tmp_path / "gpu.png")


def test_a_case_that_breaks_on_the_gpu_is_a_note(benchmark, cuda):
    cpu_vs_gpu = benchmark("cpu_vs_gpu")
    plan = cpu_vs_gpu.Plan(cuda, (1,), 0.001, time.perf_counter() + 100)

    def waits(backend, n):
        x = backend.asarray(np.ones(n, np.float32))
        return lambda: float(x.sum())

    found = cpu_vs_gpu.measure(waits, plan)
    assert found["failed"] and found["eager"][0] and found["captured"] == [None]
    assert "CaptureError" in found["notes"][0]


@pytest.mark.skipif(ranks.MPIEXEC is None, reason="needs an MPI: pip install 'minigan[mpi]'")
def test_kills(benchmark, tmp_path):
    """A rank is killed: the other ends, with one line."""
    kills, args = benchmark("kills"), SimpleNamespace(ranks=2, steps=10**6)
    kills.draw_images(tmp_path / "images")
    assert kills.killed(tmp_path / "run", args, 1.0, random.Random(0)) == []
