"""All lessons and identify on small machines: 1 and 2 GB of memory, one core (make check-small).

The limit is a hard one, of the operating system: a process that asks for more is killed. Of what
the system has, this takes the first that works: systemd-run (a user's own slice), a control group
of version 2 or 1 that this user may make, or ulimit -v, which limits addresses, not memory, and is
the strictest. 1 GB is what Binder promises, at 2 it ends a kernel. ``--limit 1500`` tries another
number of megabytes.

Home, temporary and configuration folders are new and empty; what the lessons leave in them, and in
the checkout, is listed, and anything but caches of others is an error.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from check_long import write_scans

ROOT = Path(__file__).resolve().parent.parent
GROUPS = Path("/sys/fs/cgroup")
#: What libraries keep of themselves in a home folder: fonts, parsed tables, settings.
THEIRS = (".cache/matplotlib", ".config/matplotlib", ".ipython", ".jupyter", ".local/share/jupyter")
THEIRS += (".cache/fontconfig", ".pmgrc.yaml", ".keras", ".cache/xrdclass")


def works(command):
    return subprocess.run([*command, "true"], capture_output=True).returncode == 0


def choose_limit(megabytes):
    """``(how, prefix, group)``: what to put before a command, and the folder of its group."""
    size = megabytes * 1_000_000
    scope = ["systemd-run", "--user", "--scope", "--quiet", "-p", f"MemoryMax={size}"]
    scope += ["-p", "MemorySwapMax=0", "--"]
    if shutil.which("systemd-run") and works(scope):
        return "systemd-run --user --scope -p MemoryMax", scope, None
    for parent, limit in ((GROUPS, "memory.max"), (GROUPS / "memory", "memory.limit_in_bytes")):
        group = parent / f"xrdclass-{os.getpid()}"
        join = ["sh", "-c", f'echo $$ > "{group}/cgroup.procs" && exec "$@"', "sh"]
        with contextlib.suppress(OSError):
            if (parent / "cgroup.procs").exists():
                group.mkdir()
                (group / limit).write_text(str(size))
                if works(join):
                    return f"a control group, {limit}", join, group
                group.rmdir()
    return "ulimit -v", ["bash", "-c", f'ulimit -v {size // 1024}; exec "$@"', "sh"], None


def peak(group):
    """The most memory that a control group's processes took, in words."""
    for name in ("memory.peak", "memory.max_usage_in_bytes"):
        with contextlib.suppress(OSError, TypeError):
            return f", most {int((group / name).read_text()) / 1e6:.0f} MB with cached files"
    return ""


def files_in(folder):
    return {str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file()}


def git_status():
    done = subprocess.run(
        ["git", "status", "--porcelain", "--ignored", "--untracked-files=all"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    # build/ is where run_lessons.py writes the executed copies.
    lines = done.stdout.splitlines()
    return {x for x in lines if "__pycache__" not in x and " build/" not in x and ".venv" not in x}


def main():
    """Check each limit, the smaller one first; the exit status is 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--limit", type=int, nargs="+", default=[1000, 2000], metavar="MB")
    parser.add_argument("--only", nargs="+", default=[], metavar="06", help="just these lessons")
    options = parser.parse_args()
    # One core, chosen here, inherited by all.
    core = "any: this system does not let a process choose"
    if hasattr(os, "sched_setaffinity"):
        core = {min(os.sched_getaffinity(0))}
        os.sched_setaffinity(0, core)
    return max([check(limit, core, options.only) for limit in options.limit])


def check(limit, core, only):
    """Run everything with so many megabytes; 1 if something failed or was left behind."""
    before, failed = git_status(), 0
    how, prefix, group = choose_limit(limit)
    with tempfile.TemporaryDirectory() as name:
        folders = {key: Path(name, key) for key in ("home", "tmp", "scans")}
        for folder in folders.values():
            folder.mkdir()
        environment = {**os.environ, "HOME": str(folders["home"]), "TMPDIR": str(folders["tmp"])}
        for key in [key for key in environment if key.startswith(("XDG_", "JUPYTER", "IPYTHON"))]:
            del environment[key]
        print(f"{limit} MB by {how}; core {core}", flush=True)

        def run(title, *command, quiet=False):
            start, whole = time.perf_counter(), [*prefix, sys.executable, *command]
            out = subprocess.DEVNULL if quiet else None
            done = subprocess.run(whole, cwd=ROOT, env=environment, stdout=out)
            seconds = time.perf_counter() - start
            print(f"{title}: exit {done.returncode}, {seconds:.0f} s{peak(group)}", flush=True)
            return done.returncode != 0

        truth = write_scans(200, folders["scans"])
        scans = [str(folders["scans"] / name) for name, phase in truth.items() if phase]
        title = f"identify, {len(scans)} scans"
        failed += run(title, "-m", "xrdclass", "identify", *scans, quiet=True)
        only = ["--only", *only] if only else []
        failed += run("lessons", "tools/run_lessons.py", *only)
        left = sorted(f for f in files_in(folders["home"]) if not f.startswith(THEIRS))
        temporary = sorted(files_in(folders["tmp"]))
    if group:
        group.rmdir()
    changed = sorted(git_status() - before)
    print(f"left in the home folder, other programs' own apart: {left or 'nothing'}")
    print(f"left among the temporary files: {temporary or 'nothing'}")
    print(f"left in the checkout, build/ apart: {changed or 'nothing'}")
    return int(bool(failed or left or temporary or changed))


if __name__ == "__main__":
    sys.exit(main())
