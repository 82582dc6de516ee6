"""What is installed: does it fit together, and under which licences (build/licences.md)?"""

import subprocess
import sys
from pathlib import Path

REPORT = Path(__file__).resolve().parent.parent / "build" / "licences.md"


def main():
    """Run pip check, then list the licences; the exit status is 1 if anything is amiss."""
    REPORT.parent.mkdir(exist_ok=True)
    licences = [Path(sys.executable).with_name("pip-licenses"), "--from=mixed"]
    report = ["--format=markdown", "--with-urls", f"--output-file={REPORT}"]
    for command in (
        [sys.executable, "-m", "pip", "check"],
        [*licences, *report],
        [*licences, "--summary", "--order=count"],
    ):
        if subprocess.run(command).returncode:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
