"""A network that trains on patterns as they are drawn: `simulate_batches` feeding `tf.data`.

``python benchmarks/tf_data.py --steps 60``. No pattern is kept, so that memory stays the same
however many are drawn. With --distribute the same data set feeds `tf.distribute`: every GPU of
the machine, or its CPU if it has none.
"""

import argparse
import contextlib
import sys
import time

from xrdclass.models import compact_cnn, import_keras
from xrdclass.noise import add_noise
from xrdclass.patterns import DEFAULT_GRID, min_max_scale
from xrdclass.phases import load_phases
from xrdclass.simulation import BLOCK, ORIGINAL, simulate_batches


def scaled_batches(phases, n_per_phase, variation, seed):
    """Blocks of noisy patterns, (n, points, 1) within 0...1, and their labels."""
    for i, clean in enumerate(simulate_batches(phases, n_per_phase, variation, seed=seed)):
        noisy = add_noise(clean, seed=seed + i)
        yield min_max_scale(noisy.intensity)[..., None], noisy.labels


def dataset(phases, n_per_phase, batch_size=32, variation=ORIGINAL, seed=0):
    """A `tf.data.Dataset` of shuffled batches, drawn in a thread while the network trains."""
    import tensorflow as tf

    blocks = tf.data.Dataset.from_generator(
        lambda: scaled_batches(phases, n_per_phase, variation, seed),
        output_signature=(
            tf.TensorSpec((None, DEFAULT_GRID.n_points, 1), tf.float32),
            tf.TensorSpec((None,), tf.int64),
        ),
    )
    # A block holds one phase, and the phases take turns: one round of them is shuffled together.
    one_round = BLOCK * len(phases)
    batches = -(-n_per_phase * len(phases) // batch_size)
    data = blocks.unbatch().shuffle(one_round, seed=seed).batch(batch_size).prefetch(4)
    return data.apply(tf.data.experimental.assert_cardinality(batches))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=60, help="of training (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=32, help="(%(default)s)")
    parser.add_argument("--distribute", action="store_true", help="over this machine's devices")
    options = parser.parse_args()
    if options.steps < 4:
        sys.exit("--steps must be at least 4.")

    keras = import_keras()
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    phases = load_phases()
    # One round more than is trained on, so that drawing goes on until the last step.
    n_per_phase = -(-options.steps * options.batch_size // len(phases)) + BLOCK
    data = dataset(phases, n_per_phase, options.batch_size)
    ends = []  # of the steps; the first ones wait for compiling and for the first round
    clock = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter())
    )
    strategy = tf.distribute.MirroredStrategy() if options.distribute else None
    with strategy.scope() if strategy else contextlib.nullcontext():
        network = compact_cnn(DEFAULT_GRID.n_points, len(phases))
        network.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = network.fit(data.take(options.steps), callbacks=[clock], verbose=0).history
    first = options.steps // 4
    rate = (options.steps - 1 - first) * options.batch_size / (ends[-1] - ends[first])
    print(
        f"{rate:,.0f} patterns/s drawn, made noisy and trained on; "
        f"{options.steps * options.batch_size:,} patterns, each seen once: "
        f"loss {history['loss'][-1]:.2f}, accuracy {history['accuracy'][-1]:.2f}"
    )


if __name__ == "__main__":
    main()
