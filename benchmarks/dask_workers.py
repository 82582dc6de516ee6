"""The patterns of `simulate`, bit for bit, drawn by Dask workers: two processes or a cluster.

``python benchmarks/dask_workers.py --n-per-phase 2000`` starts two local workers and compares:
drawing alone, and the whole chain, in which noise and averaging stay with the workers and a
network is trained here on the little that they send.
On a cluster: ``python benchmarks/dask_workers.py --scheduler tcp://ADDRESS:8786``.
Needs the extra: ``pip install -e '.[scale]'``.
"""

import argparse
import hashlib
import itertools
import sys
import time
from collections import deque

from xrdclass.noise import add_noise
from xrdclass.patterns import PatternSet, TwoThetaGrid
from xrdclass.phases import load_phases
from xrdclass.simulation import (
    ORIGINAL,
    plan_blocks,
    plan_simulation,
    simulate_batches,
    simulate_block,
)

WAITING = 3  # blocks asked of each worker ahead of time: what bounds the memory


def digest(plan, job):
    """What a worker sends back if the patterns stay with it: a checksum of the block."""
    patterns = simulate_block(plan, job)
    return checksum(patterns)


def prepared(plan, job):
    """The whole chain but for training: a block with noise, in means of 0.25 degrees.

    A pattern of 34 kB becomes one of 1.4 kB, the input of lesson 05.
    """
    label, block, _ = job
    noisy = add_noise(simulate_block(plan, job), seed=[plan.seed, label, block])
    intensity = noisy.intensity[:, : 340 * 25].reshape(len(noisy), 340, 25).mean(axis=2)
    grid = TwoThetaGrid(5.12, 5.12 + 339 * 0.25, 0.25)
    return PatternSet(intensity, noisy.labels, noisy.names, grid)


def checksum(patterns):
    return hashlib.sha256(patterns.intensity.tobytes() + patterns.labels.tobytes()).hexdigest()


def simulate_on(client, phases, n_per_phase, variation=ORIGINAL, seed=0, function=simulate_block):
    """The stream of `simulate_batches`, in its order, from the workers of a Dask client.

    ``function(plan, job)`` runs on the workers; what it returns is sent here. Give it what
    shortens that: noise and scaling, a smaller grid, or writing a file and returning its name.
    """
    plan = client.scatter(plan_simulation(phases, variation, seed=seed), broadcast=True)
    jobs = iter(plan_blocks(len(phases), n_per_phase))
    ahead = WAITING * max(len(client.scheduler_info()["workers"]), 1)

    def ask(job):
        return client.submit(function, plan, job, pure=False)

    waiting = deque(map(ask, itertools.islice(jobs, ahead)))
    while waiting:
        batch = waiting.popleft().result()  # the worker forgets it: no one holds its future
        waiting.extend(map(ask, itertools.islice(jobs, 1)))
        yield batch


def train(patterns):
    """Train on four fifths of what the workers sent, and print what the network is worth."""
    from xrdclass.models import compact_cnn
    from xrdclass.patterns import split
    from xrdclass.training import fit

    known, unknown = split(patterns, 0.2)
    start = time.perf_counter()
    network = compact_cnn(patterns.grid.n_points, len(patterns.names), average=1)
    classifier = fit(known, unknown, network, epochs=2, progress=False)
    seconds, right = time.perf_counter() - start, classifier.history["val_accuracy"][-1]
    print(f"trained here in {seconds:.1f} s: {right:.1%} of {len(unknown):,} others right")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-per-phase", type=int, default=1000, help="patterns (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="local ones (%(default)s)")
    parser.add_argument("--scheduler", help="address of a running Dask scheduler instead")
    options = parser.parse_args()
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        sys.exit("Dask is not installed. Install the extra: pip install -e '.[scale]'")

    phases = load_phases()
    n_per_phase, n = options.n_per_phase, options.n_per_phase * len(phases)
    cluster = options.scheduler or LocalCluster(
        n_workers=options.workers, threads_per_worker=1, dashboard_address=None
    )
    with Client(cluster) as client:
        for _ in simulate_on(client, phases, 1):  # the workers import NumPy
            pass
        start = time.perf_counter()
        known = [checksum(batch) for batch in simulate_batches(phases, n_per_phase)]
        alone = time.perf_counter() - start
        start = time.perf_counter()
        kept = list(simulate_on(client, phases, n_per_phase, function=digest))
        there = time.perf_counter() - start
        start = time.perf_counter()
        sent = [checksum(batch) for batch in simulate_on(client, phases, n_per_phase)]
        here = time.perf_counter() - start
        plan, jobs = plan_simulation(phases), plan_blocks(len(phases), n_per_phase)
        start = time.perf_counter()
        chain = [prepared(plan, job) for job in jobs]
        chain_alone = time.perf_counter() - start
        start = time.perf_counter()
        came = list(simulate_on(client, phases, n_per_phase, function=prepared))
        chain_there = time.perf_counter() - start
        workers = len(client.scheduler_info()["workers"])
    print(f"this process alone: {n / alone:,.0f} patterns/s")
    print(f"{workers} workers, patterns stay with them: {n / there:,.0f} patterns/s")
    print(f"{workers} workers, patterns sent here: {n / here:,.0f} patterns/s")
    print(f"with noise and averaging, this process alone: {n / chain_alone:,.0f} patterns/s")
    print(f"{workers} workers do that, means sent here: {n / chain_there:,.0f} patterns/s")
    train(PatternSet.concatenate(came))
    same = known == kept == sent
    same &= [checksum(batch) for batch in chain] == [checksum(batch) for batch in came]
    print(f"{n:,} patterns: " + ("bit-identical" if same else "NOT those of simulate"))
    if not options.scheduler:
        cluster.close()
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
