"""The equations (8)–(10) of a layered tanh network as a differential-algebraic system, in NumPy alone.

y = (x, W, ẋ, Ẇ, δ) with the residuals ẋ, Ẇ, (8), (9) and D²G = 0: index 1, algebraic in δ. What solvers of DAEs are
given, written as one would for them: whole layers at a time, no copies that a residual does not need. It starts from
what `lagrangian_learning.verify.handwritten`, also NumPy alone, says of the same equations neuron by neuron.
"""

import itertools

import numpy as np

from lagrangian_learning.verify.handwritten import HandEquations, Moment, layered


class NetworkDAE:
    """F(t, y, ẏ) = 0 for layers of the given sizes, input sin(frequency t + phase), target 0.4 sin t."""

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
        self.network, self.weights, self.rates = layered(sizes), weights, rates

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
        """y and ẏ at t = 0: x and ẋ settle, ẍ, Ẅ and δ are those of (8)–(10)."""
        w, w_dot, angle = self.weights, self.rates, self.phase
        x = self.network.settle(w, np.sin(angle))
        x_dot = self.network.rates(x, w, w_dot, self.frequency * np.cos(angle))
        at = Moment(x, w, x_dot, w_dot, -(self.frequency**2) * np.sin(angle), weight_dot=self.theta)
        equations = HandEquations(self.network, self.mass_x, self.mass_W)
        force = -self.network.outputs(x[self.layers[-1]])
        x_ddot, w_ddot, delta = equations.accelerations(at, force, np.zeros_like(w))
        y = np.concatenate([x, w, x_dot, w_dot, delta])
        return y, np.concatenate([x_dot, w_dot, x_ddot, w_ddot, np.zeros_like(x)])
