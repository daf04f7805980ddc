"""`python -m tests.simulation SEED [--to SEED] [--engine cql] [--trace]`: play one history, or a range of them.

Rules
- Exit code 0 when all hold, 1 at the first that does not, with one line that plays it again.
- Strings are hashed alike in every run (PYTHONHASHSEED=0), or the order of a set could make a seed another history.
"""

import argparse
import logging
import os
import sys

from tests.simulation.engines import ENGINES


def main() -> int:
    """Play what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("seed", type=int)
    parser.add_argument("--to", type=int, help="play all seeds from SEED up to this one")
    parser.add_argument("--engine", choices=sorted(ENGINES), default="cql")
    parser.add_argument("--build", default="", help="a known-bad build by name")
    parser.add_argument("--trace", action="store_true", help="print what happens")
    wanted = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    return play_all(wanted)


def play_all(wanted: argparse.Namespace) -> int:
    """Play the seeds; tells the exit code."""
    from tests.simulation.builds import KNOWN_BAD, Build
    from tests.simulation.world import simulate

    logging.disable(logging.CRITICAL)
    build = KNOWN_BAD[wanted.build] if wanted.build else Build()
    for seed in range(wanted.seed, (wanted.to if wanted.to is not None else wanted.seed) + 1):
        try:
            simulate(seed, wanted.engine, build, trace=print if wanted.trace else lambda _: None)
        except Exception as error:
            if wanted.trace:
                raise
            print(*causes(error), sep="\n")
            bad = f" --build {wanted.build}" if wanted.build else ""
            print(f"again: python -m tests.simulation {seed} --engine {wanted.engine}{bad} --trace")
            return 1
    print(f"all histories hold: seeds {wanted.seed} to {wanted.to or wanted.seed}, {wanted.engine}")
    return 0


def causes(error: BaseException) -> list[str]:
    """Tell what was raised, each in a line."""
    if isinstance(error, BaseExceptionGroup):
        return [line for inner in error.exceptions for line in causes(inner)]
    return [f"{type(error).__name__}: {error}"]


if __name__ == "__main__":
    sys.exit(main())
