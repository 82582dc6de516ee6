"""A scan, phases and all parameters of a fit; steps downhill; what the parameters' errors are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache, wraps

import numpy as np
from threadpoolctl import ThreadpoolController

from ..diffraction import Radiation
from .profile import Crystal, Instrument, LineSet
from .start import Measured, one_sided

#: Parts of the calculated intensity and of the background that are never known better.
INTENSITY_ERROR, BACKGROUND_ERROR = 0.06, 0.002
#: What is expected before the scan is seen: mean, standard deviation, smallest, largest, and the
#: longest step of one iteration.
EXPECTED = {
    "log_width": (np.log(0.08), 0.5, np.log(0.02), np.log(0.4), 0.4),
    "log_size": (np.log(40.0), 0.8, np.log(2.5), np.log(2000.0), 0.8),
    "log_strain": (np.log(4e-4), 1.0, np.log(1e-5), np.log(0.02), 0.8),
    "eta": (0.5, 0.3, 0.0, 1.0, 0.3),
    "extra_b": (0.0, 0.5, -1.0, 2.5, 0.5),
    "log_r": (0.0, 0.2, -0.7, 0.7, 0.3),
}
#: Standard errors count what is left within so many degrees as one observation: neighbouring
#: points share their misfit (Berar & Lelann 1991, J. Appl. Cryst. 24, 1-5).
CLUSTER = 0.5
#: So many of these observations, the strongest, are left out in turn: the jackknife.
DECISIVE = 30


@dataclass
class Model:
    """A scan, the phases' lines and all parameters of a fit."""

    measured: Measured
    source: Radiation
    lines: list[LineSet]  # of the phases in the fit, beside a crystal each
    crystals: list[Crystal]
    shift: float  # degrees; of a displaced sample times cos(theta)
    log_width: float  # logarithm of the instrument's width, degrees
    background: np.ndarray  # coefficients of the splines
    cell_range: float = 0.012
    shift_range: float = 0.3
    displaced: bool = True
    intensity_error: float = INTENSITY_ERROR  # part of calculated intensities not known better
    damping: float = 1e-3
    jacobian: np.ndarray | None = field(default=None, repr=False)  # see `draw`
    peaks: np.ndarray | None = field(default=None, repr=False)
    loss: float = np.inf

    # All parameters are one vector: shift, log_width, then each crystal's, then the background's.

    @property
    def edges(self) -> np.ndarray:
        """Where each phase's parameters begin, its scale first, and where the background's do."""
        sizes = [1 + len(c.strain) + len(c.shape) for c in self.crystals]
        return 2 + np.cumsum([0, *sizes])

    @property
    def scale_columns(self) -> np.ndarray:
        """Where the derivatives with respect to scales stand: each phase's pattern at scale 1."""
        return self.edges[:-1]

    def pack(self) -> np.ndarray:
        parts = [[self.shift, self.log_width]]
        for c in self.crystals:
            parts.append([c.scale, *c.strain, *(getattr(c, name) for name in c.shape)])
        return np.concatenate([*parts, self.background])

    def unpack(self, vector) -> Model:
        crystals, edges = [], self.edges
        for c, first, last in zip(self.crystals, edges, edges[1:], strict=False):
            middle = first + 1 + len(c.strain)
            shape = dict(zip(c.shape, vector[middle:last], strict=True))
            strain = vector[first + 1 : middle]
            crystals.append(replace(c, scale=vector[first], strain=strain, **shape))
        (shift, log_width), background = vector[:2], vector[edges[-1] :]
        return replace(
            self, crystals=crystals, shift=shift, log_width=log_width, background=background
        )

    def expected(self):
        """What is expected: mean and weight, a matrix; smallest, largest values, longest steps."""
        shift, cell, m = self.shift_range, self.cell_range, len(self.background)
        own = {
            "shift": (0, shift / 2, -1.2 * shift, 1.2 * shift, 0.1),
            "strain": (0, cell / 2, -cell, cell, cell / 3),
            "scale": (0, np.inf, 0, np.inf, np.inf),
            "background": (0, np.inf, -np.inf, np.inf, np.inf),
            **EXPECTED,
        }
        names = ["shift", "log_width"]
        for c in self.crystals:
            names += ["scale", *["strain"] * len(c.strain), *c.shape]
        rows = [own[name] for name in names + ["background"] * m]
        mean, spread, low, high, longest = np.array(rows).T
        weight = np.diag(1 / spread**2)
        mean[-m:], weight[-m:, -m:] = self.measured.expected, self.measured.stiffness
        return mean, weight, low, high, longest

    def draw(self) -> Model:
        """Fill in the derivatives, (n, parameters), and the sum of all peaks, (n,)."""
        x, splines = self.measured.x, self.measured.splines
        edges = self.edges
        # A parameter's derivatives lie side by side in memory.
        self.jacobian = np.empty((len(x), edges[-1] + splines.shape[1]), np.float32, order="F")
        self.jacobian[:, :2], self.jacobian[:, edges[-1] :] = 0, splines
        self.peaks = np.zeros(len(x))
        for lines, crystal, first, last in zip(
            self.lines, self.crystals, edges, edges[1:], strict=False
        ):
            drawn = lines.draw(x, crystal, self.instrument)
            scale = float(crystal.scale)
            self.peaks += scale * drawn[:, 2]
            self.jacobian[:, :2] += scale * drawn[:, :2]
            self.jacobian[:, first] = drawn[:, 2]
            self.jacobian[:, first + 1 : last] = scale * drawn[:, 3:]
        return self

    @property
    def instrument(self) -> Instrument:
        return Instrument(self.shift, self.log_width, self.displaced, self.measured.step)

    @property
    def smooth(self) -> np.ndarray:
        """The background, (n,)."""
        return self.measured.splines @ self.background

    @property
    def sigma(self) -> np.ndarray:
        """Standard deviation of each point about a right model."""
        return self.noise(self.peaks, self.smooth)

    def noise(self, peaks, smooth) -> np.ndarray:
        variance = self.measured.variance + (self.intensity_error * peaks) ** 2
        return np.sqrt(variance + (BACKGROUND_ERROR * smooth) ** 2)

    def run(self, iterations: int = 20, tolerance: float = 0.3) -> Model:
        """The model after Levenberg-Marquardt steps on the one-sided loss, linear parts inside.

        ``tolerance``: stop where a step promises to lower the loss by less than half of it, or two
        together lower it by less.
        """
        y, (mean, prior, low, high, longest) = self.measured.y, self.expected()
        number = np.arange(len(mean))
        is_scale = np.isin(number, self.scale_columns)
        owner = np.searchsorted(self.edges, number, "right")
        damped = ~is_scale & (number < self.edges[-1])

        def whole(model, vector, sigma):
            r = (y - model.smooth - model.peaks) / sigma
            loss, weight = one_sided(r)
            away = vector - mean
            return loss.sum() + away @ prior @ away, r, weight

        model = self if self.jacobian is not None else self.draw()
        vector, damping, small = model.pack(), self.damping, 0
        for _ in range(iterations):
            sigma, new = model.sigma, None
            loss, r, weight = whole(model, vector, sigma)
            root = np.sqrt(weight)
            scaled = model.jacobian * (root / sigma).astype(np.float32)[:, None]
            hessian = scaled.T @ scaled + prior
            gradient = scaled.T @ (root * r).astype(np.float32) - prior @ (vector - mean)
            lowest, highest = np.maximum(low - vector, -longest), np.minimum(high - vector, longest)
            for _ in range(6):
                more = np.where(damped, damping, 1e-9) * hessian.diagonal() + 1e-12
                step = _step(hessian + np.diag(more), gradient, lowest, highest, is_scale, owner)
                promised = step @ (2 * gradient - hessian @ step)
                if damping < 0.01 and promised < tolerance / 2:
                    break
                trial = self.unpack(vector + step).draw()
                gained = loss - whole(trial, vector + step, sigma)[0]
                if gained > -1e-9 * loss:
                    new = trial
                    break
                damping *= 8
            if new is None:
                break
            damping = max(damping / 4, 1e-6)
            vector, model = vector + step, new
            small = small + 1 if gained < tolerance else 0
            if small == 2:
                break
        model.damping = damping
        model.loss = whole(model, vector, model.sigma)[0]
        return model

    def gains(self) -> np.ndarray:
        """How much the loss grows when each phase is left out, the others fitted anew."""
        every = np.arange(len(self.crystals))
        whole = self.refit(every)
        return np.array([self.refit(np.delete(every, i)) - whole for i in every])

    def inverse(self):
        """The inverse of the normal matrix and what it is made from.

        Returns
        -------
        inverse, prior : float, (parameters, parameters)
        rows : float, (n, parameters), derivatives over the noise times ``root``
        root, r : float, (n,), root of the points' weights, and what is left over the noise
        """
        sigma = self.sigma
        r = (self.measured.y - self.smooth - self.peaks) / sigma
        root = np.sqrt(one_sided(r)[1])
        prior = self.expected()[1]
        rows = self.jacobian * (root / sigma)[:, None]
        normal = rows.T @ rows + prior
        inverse = np.linalg.inv(normal + np.diag(1e-12 * normal.diagonal() + 1e-30))
        return inverse, prior, rows, root, r

    def covariance(self):
        """Covariance of all parameters, and what `inverse` returns.

        The observed scatter of what is left, cluster by cluster, scales the errors; they are never
        smaller than the noise and the usual error of calculated intensities make them.
        """
        x, sigma = self.measured.x, self.sigma
        inverse, prior, rows, root, r = parts = self.inverse()
        starts = np.searchsorted(x, np.arange(x[0], x[-1], CLUSTER))
        starts = np.unique(starts[starts < len(x)])
        moves = np.add.reduceat(rows * (root * r)[:, None], starts) @ inverse
        # What a strong line says of a parameter it also bends its way: left out, it says more.
        ends = np.append(starts[1:], len(x))
        strength = np.add.reduceat((self.peaks / sigma) ** 2, starts)
        for c in np.argsort(-strength)[: min(DECISIVE, (strength > 0).sum())]:
            own = rows[starts[c] : ends[c]]
            reach = own @ inverse
            without = np.eye(len(own)) - reach @ own.T
            moves[c] = np.linalg.solve(without, (root * r)[starts[c] : ends[c]]) @ reach
        part = self.intensity_error * self.peaks / sigma
        shares = np.add.reduceat(rows * (root * part)[:, None], starts) @ inverse
        seen = moves.T @ moves + inverse @ prior @ inverse
        least = shares.T @ shares + inverse
        factor = np.sqrt(np.maximum(least.diagonal() / np.maximum(seen.diagonal(), 1e-300), 1))
        return seen * np.outer(factor, factor), parts

    def keep(self, chosen) -> Model:
        """The model with some of its phases only, by their places."""
        lines, crystals = ([part[i] for i in chosen] for part in (self.lines, self.crystals))
        return replace(self, lines=lines, crystals=crystals, jacobian=None)

    def on(self, measured: Measured) -> Model:
        """The model on other points of the same scan."""
        return replace(self, measured=measured, jacobian=None)

    def refit(self, chosen, y=None) -> float:
        """The loss with the chosen phases only, as they are: new scales and a new background.

        ``y`` stands for the scan's intensities.
        """
        measured = self.measured
        y = measured.y if y is None else y
        k, m = len(chosen), len(self.background)
        patterns = self.jacobian[:, self.scale_columns[np.asarray(chosen, dtype=int)]]
        columns = np.concatenate([patterns.T, measured.splines.T]).T
        is_scale, owner = np.arange(k + m) < k, np.arange(k + m)
        least, none = np.where(is_scale, 0, -np.inf), np.full(k + m, np.inf)
        vector = np.array([*(self.crystals[i].scale for i in chosen), *self.background])
        for i in range(4):
            smooth, peaks = columns[:, k:] @ vector[k:], columns[:, :k] @ vector[:k]
            sigma = self.noise(peaks, smooth)
            loss, weight = one_sided((y - smooth - peaks) / sigma)
            if i == 3:
                return float(loss.sum())
            weighted = columns.T * (weight / sigma**2)
            a, gradient = weighted @ columns, weighted @ (y - smooth - peaks)
            a[k:, k:] += measured.stiffness
            gradient[k:] -= measured.stiffness @ (vector[k:] - measured.expected)
            a += np.diag(1e-9 * a.diagonal() + 1e-12)
            vector = vector + _step(a, gradient, least - vector, none, is_scale, owner)


def _step(hessian, gradient, lowest, highest, is_scale, owner) -> np.ndarray:
    """The Newton step within limits; a phase whose scale would go to 0 keeps its shape."""
    free, step = np.ones(len(gradient), dtype=bool), np.linalg.solve(hessian, gradient)
    while (beyond := free & ((step < lowest) | (step > highest))).any():
        step[beyond] = np.clip(step, lowest, highest)[beyond]
        gone = free & ~is_scale & np.isin(owner, owner[beyond & is_scale])
        step[gone] = 0
        free &= ~(beyond | gone)
        rest = gradient[free] - hessian[np.ix_(free, ~free)] @ step[~free]
        step[free] = np.linalg.solve(hessian[np.ix_(free, free)], rest)
    return step


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


def on_one_thread(function):
    """Matrices are small here: a second thread gains little, and beside other work costs a lot."""

    @wraps(function)
    def limited(*arguments, **settings):
        with _threads().limit(limits=1):
            return function(*arguments, **settings)

    return limited
