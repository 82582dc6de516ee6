"""Training runs that are kept in a folder, so that they can go on after a stop."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np

from ..errors import DataError
from .networks import short_reason
from .writing import write_safely


class Keeper:
    """Keeps a training run in a folder, so that it can go on after it was stopped.

    Parameters
    ----------
    folder : made if it is not there
    network : Keras model, compiled; its optimizer has its variables
    about : what a run must share with the kept one to go on from it, as JSON takes it

    Raises `DataError` if the folder keeps another run, or cannot be read or written to.
    """

    STATE, BEST = "state.npz", "best.keras"

    def __init__(self, folder, network, about: dict):
        self.folder, self.network = Path(folder), network
        shapes = [list(weights.shape) for weights in network.weights]
        self.about = json.loads(json.dumps({**about, "shapes": shapes}))
        #: What the last `save` was given; empty for a new run.
        self.record: dict = {}
        if (self.folder / self.STATE).exists():
            self._resume()
        else:
            self.save({})  # a folder that cannot be written to is noticed now, not hours later

    def _variables(self):
        return [*self.network.weights, *self.network.optimizer.variables]

    def _resume(self):
        path, variables = self.folder / self.STATE, self._variables()
        try:
            with np.load(path, allow_pickle=False) as state:
                about, record = json.loads(str(state["about"])), json.loads(str(state["record"]))
                values = [state[f"v{i}"] for i in range(len(state.files) - 2)]
        except Exception as error:
            why = f"{path} cannot be read ({short_reason(error)})"
            raise DataError(f"{why}; remove it to train anew.") from None
        if about != self.about or [v.shape for v in values] != [tuple(v.shape) for v in variables]:
            other = ", ".join(k for k in self.about if about.get(k) != self.about[k])
            what = f"{self.folder} keeps a training run with other patterns or settings ({other})"
            raise DataError(f"{what}. Remove it, or repeat the call with those to finish it.")
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        self.record = record

    def save(self, record: dict) -> None:
        """Keep all weights, the optimizer's state and ``record``, as JSON takes it."""
        texts = {"about": json.dumps(self.about), "record": json.dumps(record)}
        values = {f"v{i}": np.asarray(v) for i, v in enumerate(self._variables())}
        np.savez(buffer := io.BytesIO(), **texts, **values)
        write_safely(self.folder / self.STATE, buffer.getbuffer(), overwrite=True)
        self.record = record

    @classmethod
    def remove(cls, folder) -> None:
        """Delete what a run kept, and its folder unless that holds something else."""
        with contextlib.suppress(OSError):
            for name in (cls.STATE, cls.BEST):  # and what a process that was killed left
                for path in Path(folder).glob(f".{Path(name).stem}-unfinished-*"):
                    path.unlink()
                (Path(folder) / name).unlink(missing_ok=True)
            Path(folder).rmdir()
