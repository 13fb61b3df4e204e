# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 17 · A learned action: which loss moved these weights?
#
# **What the user wants.** Somebody else's network learns, and its weights were recorded now and then. Its shape, its signals,
# the mass of its weights and their friction are known. The loss that it lowers is not. Which loss was it, and where will the
# weights go from another start, under another signal?
#
# The weights move as the action with massless neurons says,
#
# $$m\,(\ddot W+\vartheta\dot W)=-\frac{\partial}{\partial W}V\big(x(W,u(t))-y(t)\big),$$
#
# so the unknown is one function $V$ of the error $e=x-y$. Here $V$ is a small Equinox network. Its parameters are found by
# reverse mode *through whole runs* of learning.
#
# The next cell does something on Colab only: it installs the package under the name that `pyproject.toml` gives it.
# Until a release is on PyPI, install it there from a copy of the repository instead.

# %%
import sys

if "google.colab" in sys.modules:
    import IPython

    IPython.get_ipython().run_line_magic("pip", 'install --quiet "lagrangian-learning[notebooks]"')

# %%
import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp
from scipy.optimize import minimize

import lagrangian_learning as ll

jax.config.update("jax_enable_x64", True)
ll.plot.use_style()

# %% [markdown]
# ## The stranger
#
# It is a NumPy program, integrated by SciPy, so that it shares no code with what follows: a network of 2, 3 and 1 neurons
# with the hyperbolic tangent. Its loss punishes outputs above the target $2\tfrac12$ times as hard as outputs below,
#
# $$V(e)=w\,\log\!\big(e^{a e/w}+e^{-b e/w}\big),\qquad V'(e)=\frac{a+b}{1+e^{-(a+b)e/w}}-b,$$
#
# which is a pinball loss with a round corner. Each run has its own first weights and signals, and starts at rest.

# %%
MASS, THETA, END, RECORDS = 1.0, 0.6, 8.0, 32
ABOVE, BELOW, WIDTH = 1.0, 0.4, 0.2
TRAINED, UNSEEN = 8, 16
rng = np.random.default_rng(0)
count = TRAINED + UNSEEN
ts = np.linspace(0.0, END, RECORDS + 1)
frequency, amplitude, phase = (rng.uniform(low, high, (count, 2)) for low, high in ((0.5, 2), (0.6, 1.2), (0, 6.28)))
pace, height, lag = (rng.uniform(low, high, (count, 1)) for low, high in ((0.2, 1), (0.3, 0.9), (0, 6.28)))
first = 0.8 * rng.normal(size=(count, 9))


def slope(e):
    return (ABOVE + BELOW) / (1 + np.exp(-(ABOVE + BELOW) * e / WIDTH)) - BELOW


def stranger(t, state, k):
    W1, W2 = state[:6].reshape(3, 2), state[6:9].reshape(1, 3)
    u, y = amplitude[k] * np.sin(frequency[k] * t + phase[k]), height[k] * np.sin(pace[k] * t + lag[k])
    hidden = np.tanh(W1 @ u)
    out = np.tanh(W2 @ hidden)
    back = slope(out - y) * (1 - out**2)
    back_hidden = (W2.T @ back) * (1 - hidden**2)
    force = -np.concatenate([np.outer(back_hidden, u).ravel(), np.outer(back, hidden).ravel()])
    return np.concatenate([state[9:], force / MASS - THETA * state[9:]])


def recorded(k):
    settings = {"method": "DOP853", "rtol": 1e-9, "atol": 1e-10, "t_eval": ts, "args": (k,)}
    return solve_ivp(stranger, (0, END), np.concatenate([first[k], np.zeros(9)]), **settings).y[:9].T


weights = np.array([recorded(k) for k in range(count)])  # [runs, records, weights]
seen, unseen = weights[:TRAINED], weights[TRAINED:]
way = np.sqrt(np.mean((seen - seen[:, :1]) ** 2))
print(f"{TRAINED} runs seen, {UNSEEN} kept for the end; the weights go {way:.2f}, root of a mean square")

# %% [markdown]
# ## A loss that is a network
#
# Any `V(x_out, y)` is a potential. A module keeps its parameters where gradients find them.

# %%
network = ll.Layered((2, 3, 1))
_, unravel = ravel_pytree(network.init(jax.random.key(0)))


class Unknown(ll.AbstractPotential):
    """V = MLP(x − y)."""

    mlp: eqx.nn.MLP

    def __call__(self, x_out, y):
        return self.mlp(2 * (x_out - y))


class Scaled(ll.AbstractPotential):
    """V = scale · ½ (x − y)²: the physics that one would guess, with one number."""

    scale: jax.Array

    def __call__(self, x_out, y):
        return self.scale * ll.SquaredError()(x_out, y)


signals = (frequency, amplitude, phase, pace, height, lag, first)
everyone = [jnp.asarray(part) for part in signals]
trained = [part[:TRAINED] for part in everyone]


def run(potential, one):
    """The recorded weights [records, weights] of a run with this loss."""
    frequency, amplitude, phase, pace, height, lag, W = one
    stimulus = ll.Stimulus(ll.Sinusoids(frequency, amplitude, phase), ll.Sinusoids(pace, height, lag))
    law = ll.DampedDescent(network, potential, MASS, ll.ExponentialDissipation(THETA))
    start = law.initial_state(0.0, unravel(W), args=stimulus)
    steps = {"solver": diffrax.Tsit5(), "dt0": 0.25, "watch": "nothing"}
    save = lambda t, observables: ravel_pytree(observables["W"])[0]  # noqa: E731
    return ll.simulate(law, start, ts, stimulus, save=save, **steps).saved


@eqx.filter_jit
def predicted(potential, runs):
    return jax.vmap(lambda one: run(potential, one))(runs)


def error(potential, used):
    """Mean square error over the records in use, relative to that of weights that stay."""
    left = used[:, None] * (predicted(potential, trained) - seen)
    return jnp.sum(left**2) / jnp.sum((used[:, None] * (seen - seen[:, :1])) ** 2)


# %% [markdown]
# ## The gradient, in two ways, and a check
#
# `eqx.filter_value_and_grad` takes the module as it is. `jax.grad` takes the arrays of it: an Equinox network holds its
# activation too, which is no array. The slope along a random direction is compared with a central difference.

# %%
guess = Unknown(eqx.nn.MLP(1, "scalar", 8, 2, jnp.tanh, key=jax.random.key(1), dtype=float))
everything = jnp.ones(RECORDS + 1)
by_equinox = eqx.filter_jit(eqx.filter_value_and_grad(error))
value, gradient = by_equinox(guess, everything)

arrays, static = eqx.partition(guess, eqx.is_array)
by_jax = jax.jit(jax.grad(lambda arrays: error(eqx.combine(arrays, static), everything)))(arrays)

flat, unflat = ravel_pytree(arrays)
ours, theirs = ravel_pytree(eqx.filter(gradient, eqx.is_array))[0], ravel_pytree(by_jax)[0]
apart = float(jnp.linalg.norm(ours - theirs) / jnp.linalg.norm(theirs))
direction = jax.random.normal(jax.random.key(2), flat.shape)
up, down = (by_equinox(eqx.combine(unflat(flat + h * direction), static), everything)[0] for h in (1e-5, -1e-5))
along, difference = float(ours @ direction), float(up - down) / 2e-5
print(f"{flat.size} parameters;  eqx.filter_grad against jax.grad: {apart:.1e}")
print(f"along a direction: gradient {along:.8f}, difference {difference:.8f}")

# %% [markdown]
# ## The fit
#
# Adam first, over the first eight records and then over more and more: a wrong loss leads a long run far astray, and the
# error has hills there. SciPy's L-BFGS then goes to the bottom of the valley, by the same gradients.

# %%
STEPS, FURTHER = 60, 120
optimizer = optax.adam(optax.cosine_decay_schedule(0.08, STEPS), b2=0.99)


@eqx.filter_jit
def moved(potential, memory, gradient):
    updates, memory = optimizer.update(gradient, memory)
    return eqx.apply_updates(potential, updates), memory


learned, memory = guess, optimizer.init(arrays)
for step in range(STEPS):
    last = min(RECORDS, int(8 * 4 ** (step / (0.3 * STEPS))))
    value, gradient = by_equinox(learned, jnp.asarray((np.arange(RECORDS + 1) <= last).astype(float)))
    learned, memory = moved(learned, memory, gradient)
print(f"Adam: {float(value) ** 0.5:.2%} of the way")


def value_and_slope(flat):
    value, gradient = by_equinox(eqx.combine(unflat(jnp.asarray(flat)), static), everything)
    return float(value), np.asarray(ravel_pytree(eqx.filter(gradient, eqx.is_array))[0])


begin = np.asarray(ravel_pytree(eqx.filter(learned, eqx.is_array))[0])
found = minimize(value_and_slope, begin, jac=True, method="L-BFGS-B", options={"maxfun": FURTHER})
learned = eqx.combine(unflat(jnp.asarray(found.x)), static)
print(f"L-BFGS: {found.fun**0.5:.2%} of the way, after {found.nfev} gradients more")

# %% [markdown]
# ## The rival: squared error with one number
#
# The best of 60 scales on the same runs.

# %%
scales = jnp.geomspace(0.1, 10.0, 60)
by_scales = jax.jit(lambda scales: jax.lax.map(lambda scale: predicted(Scaled(scale), everyone), scales))(scales)
best = int(jnp.argmin(jnp.mean((by_scales[:, :TRAINED] - seen) ** 2, axis=(1, 2, 3))))
scale = float(scales[best])
print(f"best scale {scale:.2f}")

# %% [markdown]
# ## Other starts, other signals
#
# The error of each unseen run as a share of how far its weights went; weights that stay have 100 %.

# %%
far = np.sqrt(np.mean((unseen - unseen[:, :1]) ** 2, axis=(1, 2)))
by_learned, by_scaled = (np.asarray(found)[TRAINED:] for found in (predicted(learned, everyone), by_scales[best]))
misses = {
    name: np.sqrt(np.mean((weights - unseen) ** 2, axis=(1, 2))) / far
    for name, weights in (("learned loss", by_learned), ("squared error", by_scaled))
}
for name, missed in misses.items():
    print(f"{name:14s} median {np.median(missed):.1%}, nine in ten below {np.quantile(missed, 0.9):.1%}")

# %% [markdown]
# ## The loss that was found
#
# Only its slope moves anything. Outside the errors that the runs visited nothing is known, and the curve means nothing.

# %%
outputs = jax.vmap(jax.vmap(lambda W, u: network.output(network.forward(unravel(W), u)), (0, 0)))
inputs = amplitude[:TRAINED, None] * np.sin(frequency[:TRAINED, None] * ts[:, None] + phase[:TRAINED, None])
goals = height[:TRAINED, None] * np.sin(pace[:TRAINED, None] * ts[:, None] + lag[:TRAINED, None])
visited = np.ravel(np.asarray(outputs(jnp.asarray(seen), jnp.asarray(inputs))) - goals)
slope_found = jax.jit(jax.vmap(jax.grad(lambda e: learned(e[None], jnp.zeros(1)))))
off = np.asarray(slope_found(jnp.asarray(visited))) - slope(visited)
share = np.sqrt(np.mean(off**2) / np.mean(slope(visited) ** 2))
print(f"errors visited: {visited.min():.2f} to {visited.max():.2f}; the slope is {share:.1%} off there")

# %%
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11.5, 3.4))
grid = np.linspace(1.15 * visited.min(), 1.15 * visited.max(), 200)
left.axvspan(visited.min(), visited.max(), color=ll.plot.COLOURS["faint"], alpha=0.6, lw=0)
left.plot(grid, slope(grid), color="k", lw=3, alpha=0.35, label="truth")
left.plot(grid, np.asarray(slope_found(jnp.asarray(grid))), color="C0", label="learned")
left.plot(grid, scale * grid, "--", color="C4", label="squared error")
left.set(xlabel="error e = x − y", ylabel="V′(e)", title="grey: errors that the runs visited", ylim=(-1, 1.4))
left.legend(fontsize=8, loc="lower right")
which = int(np.argsort(misses["learned loss"])[UNSEEN // 2])
for weight in (1, 4, 7):
    middle.plot(
        ts, by_scaled[which, :, weight], "--", color="C4", lw=1.2, label="squared error" if weight == 1 else None
    )
    middle.plot(ts, by_learned[which, :, weight], color="C0", label="learned" if weight == 1 else None)
    middle.plot(ts, unseen[which, :, weight], "o", mfc="none", color="k", ms=3, label="truth" if weight == 1 else None)
low, high = middle.get_ylim()
middle.set(
    xlabel="time", ylabel="three weights", title="an unseen run, of median error", ylim=(low, high + 0.4 * (high - low))
)
middle.legend(fontsize=8, ncols=2, loc="upper left")
for name, colour in (("learned loss", "C0"), ("squared error", "C4")):
    right.semilogy(np.sort(100 * misses[name]), "o-", ms=3, color=colour, label=name)
right.axhline(100, color="k", lw=0.8, ls=":")
right.text(0, 105, "weights stay", fontsize=8)
right.set(xlabel="unseen run, sorted", ylabel="error, % of the way", title="runs that were not seen", ylim=(None, 300))
right.legend(fontsize=8, loc="lower right")
plt.show()

# %% [markdown]
# ## It is still mechanics
#
# Whatever the network says, the law is that of an action: its energy changes by friction and by the moving signals alone.
# `simulate` integrates both beside the run; what is left over is the defect of the balance.

# %%
stimulus = ll.Stimulus(ll.Sinusoids(frequency[0], amplitude[0], phase[0]), ll.Sinusoids(pace[0], height[0], lag[0]))
law = ll.DampedDescent(network, learned, MASS, ll.ExponentialDissipation(THETA))
path = ll.simulate(law, law.initial_state(0.0, unravel(jnp.asarray(first[0])), args=stimulus), ts, stimulus)
defect = float(jnp.max(jnp.abs(path.energy_balance)) / (path.energy.max() - path.energy.min()))
print(f"largest defect of the energy balance: {defect:.1e} of the range of the energy")

# %% [markdown]
# ## The result
#
# * The loss is found from weights alone, corner and asymmetry included, where errors were seen.
# * It predicts runs from other starts under other signals, which squared error with the best scale does not.
# * What was learned is a law of motion with an energy balance, whatever the parameters of the network are.
# * What this leaves out: masses and friction that are not known
#   ([the study of constants](../benchmarks/studies/identification.py) finds them), losses of more than one output, and what
#   happens at errors that no run has visited.

# %%
assert apart < 1e-12  # both gradients are one,
assert np.isclose(along, difference, rtol=1e-5)  # and that of the runs
assert share < 0.1  # the loss is found,
assert np.median(misses["learned loss"]) < 0.05  # and predicts what it has not seen,
assert np.median(misses["squared error"]) > 5 * np.median(misses["learned loss"])  # as one number does not
assert np.mean(misses["learned loss"] < misses["squared error"]) > 0.9
assert defect < 1e-8
