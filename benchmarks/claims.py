"""Write docs/claims.md: each figure of README, its referent, the command, and what it printed.

Takes some forty minutes on two cores. Measured scans are looked for in the folder that
XRDCLASS_DATA names; without them their sections say so.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "claims.md"
SIMULATED = "Referent: simulation of ours, drawn as in training, from crystals never trained on."
#: Heading, what it is compared with, and the arguments of the command.
CLAIMS = [
    (
        "Measured scans: which phases",
        "Referent: what the collection or the balance says of each scan. Nothing was trained on "
        "them. But the fit was developed, and faults in it were found, with these scans at hand: "
        "others may do worse.",
        "fit.py minerals",
    ),
    (
        "Weighed mixtures: how much of each",
        "Referent: weighed amounts of a round robin (Madsen et al. 2001, J. Appl. Cryst. 34, "
        "409-426). Developed with these four at hand. A Rietveld program with anomalous dispersion "
        "is quoted with 0.69 wt% RMS on eight of them.",
        "fit.py weighed",
    ),
    (
        "Simulated samples: what is found, and how honest probabilities are",
        SIMULATED + " The yes-answers by themselves; samples with and without a phase apart.",
        "fit.py answers --samples 20000 --jobs 2",
    ),
    (
        "The same, if all five phases are expected, also those that are absent",
        SIMULATED
        + " As many absent phases are expected as present ones: probabilities suppose that.",
        "fit.py answers --expected --samples 640 --jobs 2",
    ),
    ("The fit alone, without a network", SIMULATED, "fit.py answers --alone --samples 600"),
    (
        "Relatives and other minerals: given a name",
        SIMULATED + " Cells 3 to 8 % off, strong lines lost, invented crystals; then minerals.",
        "fit.py relatives --samples 2000",
    ),
    (
        "Weak phases in zinc oxide",
        SIMULATED + " How much an expectation counts was chosen on such samples.",
        "fit.py zinc --samples 32",
    ),
    ("Weights of two phases", SIMULATED, "fit.py weights --samples 600"),
    ("Bad starts", SIMULATED, "fit.py recover --samples 150"),
    (
        "Speed beside the original recipe",
        "Referent: the published recipe on the same machine, judged by the same patterns.",
        "run.py",
    ),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="PART", help="such as zinc; the rest stays")
    args = parser.parse_args()
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    parts = {part.split("\n")[0]: part.rstrip() for part in old.split("\n## ")[1:]}
    for heading, referent, command in CLAIMS:
        if args.only and not set(args.only) & set(command.split()):
            continue
        words = [sys.executable, f"benchmarks/{command.split()[0]}", *command.split()[1:]]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        said = done.stdout.rstrip() or f"Nothing: {done.stderr.strip().splitlines()[-1]}"
        day = datetime.date.today().isoformat()
        text = (
            f"{heading}\n\n{referent}\n\n`python benchmarks/{command}`, {day}:\n\n```\n{said}\n```"
        )
        parts[heading] = text
        print(f"{heading}\n{said}\n", flush=True)
    names = ("numpy", "scipy", "tensorflow", "pymatgen")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    head = (
        "# Claims and what they rest on\n\n"
        "Each figure of README and of the lessons' summaries, with its interval of 95 %, what it\n"
        "is compared with, and the command that prints it. Written by\n"
        "`python benchmarks/claims.py`, on "
        f"{os.cpu_count()} cores; Python {platform.python_version()}, {versions}.\n"
        "What a lesson states, its own cells print, and `make test` compares with a fresh run.\n"
    )
    kept = [parts[heading] for heading, *_ in CLAIMS if heading in parts]
    kept += [
        part.rstrip()
        for part in (ROOT / "benchmarks" / "README.md").read_text("utf-8").split("\n## ")
        if part.startswith("Other programs")  # of which a run takes hours
    ]
    PAGE.write_text(head + "".join(f"\n## {part}\n" for part in kept), encoding="utf-8")


if __name__ == "__main__":
    main()
