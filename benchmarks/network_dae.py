"""The equations (8)–(10) of a layered tanh network as a differential-algebraic system in NumPy: nothing of the package.

y = (x, W, ẋ, Ẇ, δ) with the residuals ẋ, Ẇ, (8), (9) and D²G = 0: index 1, algebraic in δ. What solvers of DAEs are
given, written as one would for them: whole layers at a time, no copies that a residual does not need.
"""

import itertools

import numpy as np


class NetworkDAE:
    """F(t, y, ẏ) = 0 for layers of the given sizes, input Σ amplitude sin(frequency t + phase), target 0.4 sin t."""

    def __init__(self, sizes, weights, rates, mass_x, mass_W, theta, frequency, phase):
        self.mass_x, self.mass_W, self.theta = mass_x, mass_W, theta
        self.frequency, self.phase = frequency, phase
        ends = list(itertools.accumulate(sizes, initial=0))
        self.layers = [slice(*pair) for pair in itertools.pairwise(ends)]
        self.shapes = [(m, n) for n, m in itertools.pairwise(sizes)]
        cuts = list(itertools.accumulate((m * n for m, n in self.shapes), initial=0))
        self.matrices = [slice(*pair) for pair in itertools.pairwise(cuts)]
        neurons, edges = ends[-1], cuts[-1]
        bounds = itertools.accumulate((neurons, edges, neurons, edges, neurons), initial=0)
        self.X, self.W, self.V, self.U, self.D = (slice(*pair) for pair in itertools.pairwise(bounds))
        self.size = self.D.stop
        self.algebraic = list(range(self.D.start, self.D.stop))
        self.weights, self.rates = weights, rates

    def residual(self, t, y, moved, out=None):
        """F; into `out` where that is given."""
        out = np.empty(self.size, np.result_type(y, moved)) if out is None else out
        x, v, delta, u, w = y[self.X], y[self.V], y[self.D], y[self.U], y[self.W]
        x_ddot, w_ddot = moved[self.V], moved[self.U]
        out[self.X], out[self.W] = moved[self.X] - v, moved[self.W] - u
        on_x = (self.mass_x * (x_ddot + self.theta * v) + delta).astype(out.dtype, copy=False)
        on_w = (self.mass_W * (w_ddot + self.theta * u)).astype(out.dtype, copy=False)
        closing = x_ddot.astype(out.dtype)
        closing[self.layers[0]] += self.frequency**2 * np.sin(self.frequency * t + self.phase)
        for below, above, cut, shape in zip(self.layers[:-1], self.layers[1:], self.matrices, self.shapes, strict=True):
            W, W_dot, W_ddot = (values[cut].reshape(shape) for values in (w, u, w_ddot))
            value = np.tanh(W @ x[below])
            slope = 1 - value**2
            a_dot = W_dot @ x[below] + W @ v[below]
            a_ddot = W_ddot @ x[below] + 2 * (W_dot @ v[below]) + W @ x_ddot[below]
            closing[above] += 2 * value * slope * a_dot**2 - slope * a_ddot
            pushed = slope * delta[above]
            on_x[below] -= W.T @ pushed
            on_w[cut] -= np.outer(pushed, x[below]).ravel()
        last = self.layers[-1]
        on_x[last] += x[last] - 0.4 * np.sin(t)
        out[self.V], out[self.U], out[self.D] = on_x, on_w, closing
        return out

    def jacobians(self, t, y, moved):
        """∂F/∂y and ∂F/∂ẏ by complex steps, exact to rounding: of differences Newton's method gets too few digits."""
        step = 1e-30j * np.eye(self.size)
        by_y = [self.residual(t, y + e, moved).imag for e in step]
        by_moved = [self.residual(t, y, moved + e).imag for e in step]
        return np.stack(by_y, axis=1) / 1e-30, np.stack(by_moved, axis=1) / 1e-30

    def start(self):
        """y and ẏ at t = 0: x and ẋ by the forward pass and its complex step, the rest from the linear residual."""
        h = 1e-30
        x = [np.sin(1j * h * self.frequency + self.phase)]
        for cut, shape in zip(self.matrices, self.shapes, strict=True):
            x.append(np.tanh((self.weights + 1j * h * self.rates)[cut].reshape(shape) @ x[-1]))
        x = np.concatenate(x)
        y = np.concatenate([x.real, self.weights, x.imag / h, self.rates, np.zeros(x.size)])
        half, count = self.V.start, self.size - self.V.start

        def left(unknown):  # (ẍ, Ẅ, δ)
            moved = np.concatenate([y[self.V], y[self.U], unknown[:half], np.zeros(x.size)])
            return self.residual(0.0, np.concatenate([y[: self.D.start], unknown[half:]]), moved)[self.V.start :]

        still = left(np.zeros(count))
        matrix = np.stack([left(e) - still for e in np.eye(count)], axis=1)
        unknown = np.linalg.solve(matrix, -still)
        y[self.D] = unknown[half:]
        return y, np.concatenate([y[self.V], y[self.U], unknown[:half], np.zeros(x.size)])
