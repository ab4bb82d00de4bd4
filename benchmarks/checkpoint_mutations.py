"""Does any damage to a checkpoint go unnoticed? Damages one in many ways and loads what is left.

    python benchmarks/checkpoint_mutations.py --count 200000    some minutes
    python benchmarks/checkpoint_mutations.py FILE …            what an earlier run found and kept

The checkpoint is that of a small DCGAN: two networks, Adam, RMSprop, an average, a generator's
state, an objective with a state, a record, and the options as JSON. Mutation number i of a seed is
always the same kind of damage. Each is loaded as by `--resume`: what may come of it is a
CheckpointError with every part as it was, or, where nothing that is read has changed, the very
values that were saved. Faults are

    wrong values   `load` or `peek` gave something that was not saved
    half-loaded    refused, but a part has changed
    other          another exception, a warning, more than 256 MiB of memory, more than 10 seconds

Prints what was tried and what became of it. Each file at fault is named, with what is wrong, and
the first of them are kept under --out, to be tried again. Exit status 1 if there is a fault.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import re
import signal
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from measure import print_table

from minigan import cpu, losses, models, optim
from minigan.training import Progress, Record, checkpoint, options

SECONDS, BYTES = 10, 256 << 20  # what one load may take
KEPT = 20
OUTCOMES = ("unchanged", "refused", "same values", "wrong values", "half-loaded", "other")
FAULTS = OUTCOMES[3:]

# --- The checkpoint ------------------------------------------------------------------------------

EXTRA = {
    "step": 1234,
    "options": {"steps": 4000, "epochs": None, "seed": 0, "lr_g": 0.0002, "data": "mnist"},
    "data": "MNIST, 60,000 images",
    "generator": {"network": "dcgan", "arguments": {"size": 8, "latent": 3}, "low": -1.0},
}


def parts(seed) -> dict:
    """The parts of a run in the middle of its training; what they hold depends on the seed."""
    rng, values = cpu.generator(seed), np.random.default_rng(seed)
    G = models.dcgan_generator(rng=rng, size=8, latent=3, width=2)
    D = models.dcgan_discriminator(rng=rng, size=8, width=2)
    record = Record("loss_d", "loss_g", "d_real")
    for row in values.normal(size=(20, 3)):
        record.add(*row)
    made = {
        "G": G,
        "D": D,
        "G_optimizer": optim.Adam(G, 2e-4),
        "D_optimizer": optim.RMSprop(D, 2e-4),
        "average": optim.EMA(G, 0.99),
        "noise": rng,
        "objective": losses.BoundaryEquilibrium(cpu),
        "record": record,
    }
    for part in made.values():
        for value in part.state().values():
            if isinstance(value, np.ndarray) and part is not record:
                value[...] = values.normal(size=value.shape)
    for name in ("G_optimizer", "D_optimizer", "average"):
        made[name].t = 1000 + seed
    return made


def contents(made) -> dict:
    """All that the parts hold, to be compared: dtype, shape and bytes, or type and value."""
    return {
        f"{name}/{key}": (value.dtype.name, value.shape, value.tobytes())
        if isinstance(value, np.ndarray)
        else repr(value)
        for name, part in made.items()
        for key, value in part.state().items()
    }


# --- Damage: each function takes the file and a random source, and returns a damaged file --------


def header_end(file) -> int:
    return min(len(file), 8 + int.from_bytes(file[:8], "little"))


def place(file, rng, *, in_header=None) -> int:
    """A byte of the file; half of them in the header, which is the smaller part of a real one."""
    in_header = rng.random() < 0.5 if in_header is None else in_header
    return rng.randrange(header_end(file) if in_header else len(file))


def block(file, rng) -> tuple[int, int]:
    start = place(file, rng)
    return start, min(len(file), start + rng.choice((1, 2, 8, rng.randint(1, 300))))


def flip_in_header(file, rng):
    return flip(file, place(file, rng, in_header=True), rng)


def flip_anywhere(file, rng):
    return flip(file, place(file, rng, in_header=False), rng)


def flip(file, at, rng):
    return file[:at] + bytes([file[at] ^ 1 << rng.randrange(8)]) + file[at + 1 :]


def several_flips(file, rng):
    for _ in range(rng.randint(2, 8)):
        file = flip(file, place(file, rng), rng)
    return file


def another_byte(file, rng):
    at = place(file, rng)
    byte = rng.choice((0, 255, *b'"\\{}[],: 0', rng.randrange(256)))
    return file[:at] + bytes([byte]) + file[at + 1 :]


def another_digit(file, rng):
    """A digit in the header for another: the text stays valid, the value does not."""
    at = rng.choice([m.start() for m in re.finditer(rb"\d", file[: header_end(file)])])
    return file[:at] + rng.choice("0123456789").encode() + file[at + 1 :]


def cut_short(file, rng):
    return file[: place(file, rng)]


def inserted(file, rng):
    """Bytes put in, or put at the end: random ones, or a block of the file a second time."""
    start, stop = block(file, rng)
    at = rng.choice((start, len(file)))
    return file[:at] + rng.choice((file[start:stop], rng.randbytes(stop - start))) + file[at:]


def deleted(file, rng):
    start, stop = block(file, rng)
    return file[:start] + file[stop:]


def blanked(file, rng):
    start, stop = block(file, rng)
    return file[:start] + bytes([rng.choice((0, 255, 32))]) * (stop - start) + file[stop:]


def swapped(file, rng):
    """Two blocks of one length exchanged, as when a disk writes them in the wrong places."""
    size = rng.choice((1, 4, 8, 64, 512))
    a, b = sorted(min(place(file, rng), len(file) - size) for _ in range(2))
    if b < a + size:
        return file
    one, between, other = file[a : a + size], file[a + size : b], file[b : b + size]
    return file[:a] + other + between + one + file[b + size :]


EXTREMES = (0, 1, -1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**64 - 1, 2**64, 10**30)


def extreme_length(file, rng):
    """The length of the header set to another number."""
    near = header_end(file) - 8 + rng.randint(-9, 9)
    length = rng.choice((*EXTREMES, near, len(file) - 8)) % 2**64
    return length.to_bytes(8, "little") + file[8:]


def extreme_number(file, rng):
    """A number in the header set to an extreme one, with the header's length put right or not."""
    header = file[8 : header_end(file)].rstrip()
    number = rng.choice(list(re.finditer(rb"-?\d+", header)))
    other = str(rng.choice((*EXTREMES, "NaN", "Infinity", "1e999", "1.5"))).encode()
    changed = header[: number.start()] + other + header[number.end() :]
    if rng.random() < 0.5:
        return file[:8] + changed + file[header_end(file) :]
    return with_header(file, changed)


def with_header(file, header):
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + file[header_end(file) :]


def rewritten(file, rng):
    """A whole header that was written anew with one thing changed: nothing is cut or overlaps."""
    header = json.loads(file[8 : header_end(file)])
    arrays = sorted(header.keys() - {"__metadata__"})
    one, other = (header[name] for name in rng.sample(arrays, 2))
    change = rng.choice(("shape", "dtype", "values", "places", "twice", "spaces", "version"))
    text = header["__metadata__"]["json"]
    if change == "shape":
        one["shape"] = rng.choice((one["shape"][::-1], [*one["shape"], 1], [1, *one["shape"]]))
    elif change == "dtype":
        one["dtype"] = {"F32": "I32", "F64": "U64"}.get(one["dtype"], "BF16")
    elif change == "places":
        one["data_offsets"], other["data_offsets"] = other["data_offsets"], one["data_offsets"]
    elif change == "version":
        header["__metadata__"]["version"] = rng.choice("1234567890")
    elif change == "values":
        number = rng.choice(list(re.finditer(r"\d", text)))
        text = text[: number.start()] + rng.choice("123456789") + text[number.end() :]
    elif change == "twice":
        text = text.replace('"options": {', '"options": {}, "step": 1, "options": {', 1)
    header["__metadata__"]["json"] = text
    compact = None if change == "spaces" else (",", ":")
    return with_header(file, json.dumps(header, separators=compact).encode())


def twice_damaged(file, rng):
    first, second = rng.choices([kind for kind in KINDS if kind is not twice_damaged], k=2)
    with contextlib.suppress(ValueError, LookupError):  # the second may need a whole header
        return second(first(file, rng), rng)
    return first(file, rng)


KINDS = (
    *(flip_in_header, flip_anywhere, several_flips, another_byte, another_digit),
    *(cut_short, inserted, deleted, blanked, swapped, extreme_length, extreme_number),
    *(rewritten, twice_damaged),
)

# --- Loading -------------------------------------------------------------------------------------


class TooLongError(BaseException):
    """No Exception, so that nothing on the way takes it for a part's refusal."""


class Result(NamedTuple):
    """What became of a damaged file, and in words what is wrong with that, if anything."""

    outcome: str
    why: str = ""


class Subject:
    """A saved checkpoint, and the parts of a fresh run to load it into."""

    def __init__(self, path):
        checkpoint.save(path, parts(1), **EXTRA)
        self.path, self.file = path, path.read_bytes()
        self.saved, self.parts, self.fresh = contents(parts(1)), parts(2), contents(parts(2))

    def attempt(self, damaged: bytes) -> Result:
        """Loads the damaged bytes, having written them to the checkpoint's path."""
        if damaged == self.file:
            return Result("unchanged")
        self.path.write_bytes(damaged)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                signal.alarm(SECONDS)
                result = self._load()
            except (Exception, TooLongError) as error:
                result = Result("other", f"{type(error).__name__}: {error}")
            finally:
                signal.alarm(0)
        if warned and result.outcome not in FAULTS:
            result = Result("other", f"a warning: {warned[0].message}")
        if contents(self.parts) != self.fresh:
            self.parts = parts(2)
        return result

    def _load(self) -> Result:
        with contextlib.suppress(checkpoint.CheckpointError):
            if repr(checkpoint.peek(self.path)) != repr(EXTRA):
                return Result("wrong values", "from peek")
        try:
            extra = checkpoint.load(self.path, self.parts)
        except checkpoint.CheckpointError as error:
            changed = different(contents(self.parts), self.fresh)
            return Result("half-loaded", f"{changed}, {error}") if changed else Result("refused")
        if repr(extra) != repr(EXTRA):
            return Result("wrong values", "in the extra of load")
        changed = different(contents(self.parts), self.saved)
        return Result("wrong values", f"in {changed}") if changed else Result("same values")


def different(found, wanted) -> str:
    return ", ".join(name for name in wanted if found.get(name) != wanted[name])


@contextlib.contextmanager
def limits():
    """Within it, a load that takes too much memory or time ends in an exception. Linux alone."""
    import resource

    def too_long(number, frame):
        raise TooLongError(f"more than {SECONDS} seconds")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    previous = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, previous[1]))
    handler = signal.signal(signal.SIGALRM, too_long)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, previous)


# --- The run -------------------------------------------------------------------------------------


def mutations(file, seed, count):
    """(name, kind, damaged file), one after the other; each has a random source of its own."""
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        kind = rng.choice(KINDS)
        yield f"{seed}_{number:06d}", kind.__name__.replace("_", " "), kind(file, rng)


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("files", nargs="*", type=Path, metavar="FILE", help="damaged files, to be tried")
    p.add_argument("--count", type=options.whole(1), default=5000, help="mutations to try")
    p.add_argument("--seed", type=options.whole(0), default=0)
    p.add_argument("--out", type=Path, default=Path("runs/benchmarks/checkpoint_mutations"))
    args = p.parse_args(argv)
    found, faults = Counter(), 0
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject(Path(folder) / "checkpoint.safetensors")
        tries = mutations(subject.file, args.seed, args.count)
        if args.files:
            tries = ((file.stem, "given", file.read_bytes()) for file in args.files)
        total = len(args.files) or args.count
        with Progress(total) as progress, limits():
            for name, kind, damaged in tries:
                result = subject.attempt(damaged)
                found[kind, result.outcome] += 1
                progress.advance()
                if result.outcome in FAULTS:
                    faults += 1
                    if faults <= KEPT:
                        progress.say(f"{name}, {kind}: {result.outcome}, {result.why}")
                        args.out.mkdir(parents=True, exist_ok=True)
                        (args.out / f"{name}.safetensors").write_bytes(damaged)
    report(found, len(subject.file))
    if faults:
        print(f"\n{faults} faults; the first {min(faults, KEPT)} files are in {args.out}")
    return 1 if faults else 0


def report(found, size):
    kinds = sorted({kind for kind, _ in found})
    rows = [[kind, *(found[kind, outcome] for outcome in OUTCOMES)] for kind in kinds]
    rows.append(["all", *map(sum, zip(*(row[1:] for row in rows), strict=True))])
    headers = ("damage", "tried", *OUTCOMES)
    rows = [[row[0], sum(row[1:]), *row[1:]] for row in rows]
    print_table(f"A checkpoint of {size:,} bytes, damaged and loaded", headers, rows)


if __name__ == "__main__":
    sys.exit(main())
