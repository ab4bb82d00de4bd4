"""The package as a whole: what it promises in the README, its floors, and its manners."""

import ast
import importlib
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checks import check_gradients
from running import EXAMPLES, module

import minigan

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# The order of floors, and of the files of each, stands in the package itself.
FLOORS = re.search(r"alone:\n([\w, \n]+)\.", minigan.__doc__)[1].replace(",", " ").split()


def order(floor):
    """The files of a floor in the order of reading, as its first lines say."""
    text = importlib.import_module(f"minigan.{floor}").__doc__
    return re.search(r"In the order of reading: ([\w, \n]+)", text)[1].replace(",", " ").split()


def imported(path):
    """What a file imports of minigan, wherever in it: (floor, file or None)."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {tuple(name.split(".")[1:3]) for name in names if name.startswith("minigan.")}
    return found


def test_every_file_has_a_floor():
    folders = {path.name for path in (ROOT / "minigan").iterdir() if path.name != "__pycache__"}
    assert folders == {*FLOORS, "__init__.py"}
    for floor in FLOORS:
        files = {path.stem for path in (ROOT / "minigan" / floor).glob("*.py")}
        assert files - {"__init__"} == set(order(floor)), floor


def test_the_tests_are_in_the_folders_of_the_package():
    folders = {path.name for path in (ROOT / "tests").iterdir() if list(path.glob("*.py"))}
    assert folders == {*FLOORS, "examples", "benchmarks", "gpu", "helpers"}


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_point_to_lower_floors(floor):
    """And within a folder to files that are read before."""
    allowed, files = set(FLOORS[: FLOORS.index(floor)]), order(floor)
    for index, name in enumerate(files):
        for other, *inner in imported(ROOT / "minigan" / floor / f"{name}.py"):
            if (floor, other, inner) == ("backend", "backend", ["get_backend"]):
                continue  # by which a device is copied: at that time, not while it is imported
            same_floor = other == floor and inner and inner[0] in files[:index]
            assert other in allowed or same_floor, (name, other, inner)


def test_only_the_backend_and_host_code_know_numpy():
    """Data is loaded, and pictures and checkpoints are made, on the host; the rest is not."""
    for floor in FLOORS[FLOORS.index("engine") : FLOORS.index("data")]:
        for path in (ROOT / "minigan" / floor).glob("*.py"):
            assert "import numpy" not in path.read_text(encoding="utf-8"), path


def test_importing_minigan_is_light_and_silent():
    program = (
        "import sys, minigan; heavy = 'matplotlib PIL tqdm safetensors cupy torch'.split();"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_no_public_name_hides_a_module():
    """`import minigan.engine as E` is the file of that name, as are those of the folders."""
    modules = [info.name for info in pkgutil.walk_packages(minigan.__path__, "minigan.")]
    assert {"minigan.engine", "minigan.backend.host", "minigan.data.digits"} <= set(modules)
    for name in modules:
        module, (package, _, last) = importlib.import_module(name), name.rpartition(".")
        assert getattr(importlib.import_module(package), last) is module, name


PLACE = re.compile(r"\b(?:minigan|examples|benchmarks|tests)/[\w/]+\.(?:py|md|cu|png)\b")


def test_every_file_that_is_spoken_of_exists():
    spoken = [path for ending in ("py", "md", "cu") for path in ROOT.rglob(f"*.{ending}")]
    gone = {
        f"{path.relative_to(ROOT)}: {place}"
        for path in spoken
        if path.relative_to(ROOT).parts[0] in ("minigan", "examples", "benchmarks", "README.md")
        for place in PLACE.findall(path.read_text(encoding="utf-8"))
        if not (ROOT / place).exists()
    }
    assert not gone


def test_the_readmes_code_runs():
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 3
    namespace = {}
    for block in blocks:
        exec(block.replace("range(1000)", "range(20)"), namespace)
    random = np.random.default_rng(0)
    check_gradients(namespace["mul_add"], *(random.standard_normal((3, 4)) for _ in range(3)))


def test_the_readmes_step_learns():
    """The ten lines, at their full length, move the generator's mean to the data's."""
    block = re.search(r"```python\n(.*?)```", README, flags=re.DOTALL)[1]
    namespace = {}
    exec(block, namespace)
    assert abs(namespace["fake"].numpy().mean() - 4.0) < 0.5


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150


def test_the_readme_names_every_floor_in_order():
    table = re.findall(r"^\| `minigan/(\w+)/`", README, flags=re.MULTILINE)
    assert table == FLOORS


def test_the_readmes_pictures_exist_and_are_small():
    pictures = [ROOT / path for path in re.findall(r"!\[.*?\]\((.*?)\)", README)]
    assert pictures
    assert sum(path.stat().st_size for path in pictures) < 50_000 * len(pictures)


# --- The lectures in the code --------------------------------------------------------------------


def lectures():
    """The rows of examples/LECTURES.md: what stands in backticks in its second and third column."""
    text = (ROOT / "examples" / "LECTURES.md").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("| ") and "`" in line:
            _, scripts, places = re.split(r"(?<!\\) \| ", line.strip("| "))
            yield re.findall("`(.*?)`", scripts), re.findall("`(.*?)`", places)


def names_in(path) -> set[str]:
    nodes = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
    return {node.name for node in nodes if isinstance(node, (ast.ClassDef, ast.FunctionDef))}


def test_what_the_lectures_say_has_a_script_that_takes_the_options_and_a_function():
    shown = set()
    for scripts, places in lectures():
        assert scripts and places
        for script, *options in map(shlex.split, scripts):
            shown.add(ROOT / "examples" / script)
            parse = getattr(module(Path(script).stem), "parse", None)
            assert parse(options) if parse else not options
        file = None
        for place in places:
            *before, name = place.rsplit(":", 1)
            file = before[0] if before else file
            assert name in names_in(file if file.startswith("examples/") else f"minigan/{file}")
    assert shown == set(EXAMPLES.values())


# --- The examples as texts -----------------------------------------------------------------------


def stanzas(path, size=6):
    """Every run of lines of code of a file, imports, blanks and indents aside."""
    text = path.read_text(encoding="utf-8")
    imports = {
        number
        for node in ast.parse(text).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for number in range(node.lineno, node.end_lineno + 1)
    }
    kept = [line.strip() for n, line in enumerate(text.splitlines(), 1) if n not in imports]
    kept = [line for line in kept if line]
    return {tuple(kept[k : k + size]) for k in range(len(kept) - size + 1)}


def test_no_six_lines_stand_in_two_examples():
    """What two examples share belongs to the library."""
    seen = {}
    for path in sorted((ROOT / "examples").rglob("*.py")):
        for stanza in stanzas(path):
            assert seen.setdefault(stanza, path) == path, (seen[stanza], path, stanza)
    assert len(seen) > 1000


def test_examples_are_short():
    """Two may be longer, as examples/README.md explains."""
    long = {
        path.stem
        for path in (ROOT / "examples").rglob("*.py")
        if len(path.read_text(encoding="utf-8").splitlines()) > 200
    }
    assert long <= {"evaluate_mnist", "remedies_table"}
