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
# # 16 · Which constants moved these weights?
#
# **What the user wants.** A network was trained by somebody else, and a few checkpoints of its weights are left. Which
# learning rate and which momentum moved them, and how surely does one know? And of a network that moved by the cognitive
# action: which masses and which friction, and where will it be later?
#
# The answer is a least-squares fit through the whole run: the run is made again with trial constants, and its derivatives by
# them say how to change them. No gradient and no loss of the other's run is needed, only the data it saw and its weights.
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
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from scipy.optimize import least_squares

import lagrangian_learning as ll

jax.config.update("jax_enable_x64", True)
ll.plot.use_style()

# %% [markdown]
# ## Somebody else's run
#
# Optax's SGD with momentum learns to tell nine speakers apart, a frame of speech a step, 704 weights. Ten checkpoints are
# kept of 200 steps. This cell uses nothing of the library but the network's forward pass and the data.

# %%
RATE, MOMENTUM, STEPS, EVERY = 0.01, 0.8, 200, 20
network = ll.Layered((13, 32, 9))
(speech,) = ll.data.standardise(ll.data.japanese_vowels("train"))
stimulus = speech.stream(speech.shuffled(jax.random.key(1)), ll.data.label_codes(speech.num_labels))
W = network.init(jax.random.key(0))
sgd = optax.sgd(RATE, momentum=MOMENTUM)


def loss(W, t):
    output = network.output(network.forward(W, stimulus.input(t)))
    return jnp.sum((output - stimulus.target(t)) ** 2) / 2


def step(carry, t):
    W, memory = carry
    updates, memory = sgd.update(jax.grad(loss)(W, t), memory)
    W = optax.apply_updates(W, updates)
    return (W, memory), ravel_pytree(W)[0]


every_step = np.asarray(jax.jit(lambda W: jax.lax.scan(step, (W, sgd.init(W)), jnp.arange(STEPS) * 1.0)[1])(W))
checkpoints = every_step[EVERY - 1 :: EVERY]
print(f"{len(checkpoints)} checkpoints of {checkpoints.shape[1]} weights")

# %% [markdown]
# ## The same run as mechanics
#
# SGD with momentum is damped descent, (13): $m_W(\ddot W+\vartheta\dot W)=-\partial V/\partial W$, stepped by `ll.KickDrift`, with
# momentum $e^{-\vartheta}$ and rate $(1-e^{-\vartheta})/(\vartheta m_W)$. The unknowns are the logarithms of the rate and of $\vartheta$.


# %%
def flat_weights(t, observables):
    return ravel_pytree(observables["W"])[0]


def descended(unknowns):
    """The checkpoints of a run with trial constants."""
    rate, theta = jnp.exp(unknowns)
    law = ll.DampedDescent(
        network, ll.SquaredError(), -jnp.expm1(-theta) / (rate * theta), ll.ExponentialDissipation(theta)
    )
    start, ts = law.initial_state(0.0, W, args=stimulus), np.arange(0.0, STEPS + 1, EVERY)
    settings = {"solver": ll.KickDrift(), "dt0": 1.0, "max_steps": STEPS, "watch": "nothing", "throw": False}
    return ll.simulate(law, start, ts, stimulus, save=flat_weights, **settings).saved[1:]


def fit(run_and_slopes, begin, seen, used):
    """Unknowns by Levenberg and Marquardt over the first records, then over more; their covariance s² (JᵀJ)⁻¹."""
    unknowns = begin
    for horizon in used:

        def left(p, horizon=horizon):
            return (np.asarray(run_and_slopes(jnp.asarray(p))[0])[:horizon] - seen[:horizon]).ravel()

        def slopes(p, horizon=horizon):
            return np.asarray(run_and_slopes(jnp.asarray(p))[1])[:horizon].reshape(-1, len(p))

        unknowns = least_squares(left, unknowns, slopes, method="lm", xtol=1e-14).x
    J, rest = slopes(unknowns), left(unknowns)
    return unknowns, np.sum(rest**2) / (rest.size - len(unknowns)) * np.linalg.inv(J.T @ J)


# %% [markdown]
# The derivatives are in forward mode, `jax.jacfwd`: the unknowns are two, the checkpoints many. The fit begins with constants
# that are wrong by a factor of two.

# %%
sgd_run = jax.jit(lambda p: (descended(p), jax.jacfwd(descended)(p)))
truth = np.log([RATE, -np.log(MOMENTUM)])
begin = truth + np.log(2) * np.array([1, -1])
exact, _ = fit(sgd_run, begin, checkpoints, (1, 4, 10))
way = np.sqrt(np.mean((checkpoints[-1] - ravel_pytree(W)[0]) ** 2))
noisy = checkpoints + 0.01 * way * np.random.default_rng(0).normal(size=checkpoints.shape)
found, covariance = fit(sgd_run, begin, noisy, (1, 4, 10))
deviations = np.sqrt(np.diag(covariance))
for name, log, log_exact, true, deviation in zip(
    ("rate", "−log momentum"), found, exact, truth, deviations, strict=True
):
    print(
        f"{name:14s} truth {np.exp(true):.6f}, without noise {abs(np.expm1(log_exact - true)):.0e} off, "
        f"with 1 % of noise {np.exp(log):.6f} ± {np.exp(log) * deviation:.6f}"
    )

# %% [markdown]
# ## Without a run: regression
#
# Whoever has *every* step can regress each change on the gradient and on the change before. Without noise that is exact. With a
# tenth of a per cent of noise on the weights it is not: differences of weights that hardly differ hold much of it.

# %%
unravel = ravel_pytree(W)[1]
gradients = jax.jit(jax.vmap(lambda flat, t: ravel_pytree(jax.grad(loss)(unravel(flat), t))[0]))


def regressed(seen):
    """Rate and momentum."""
    changes = np.diff(np.vstack([ravel_pytree(W)[0], seen]), axis=0)
    slopes = np.asarray(gradients(jnp.asarray(seen[:-1]), jnp.arange(1.0, STEPS)))
    design = np.stack([-slopes.ravel(), changes[:-1].ravel()], axis=1)
    return np.linalg.lstsq(design, changes[1:].ravel(), rcond=None)[0]


blurred = every_step + 0.001 * way * np.random.default_rng(1).normal(size=every_step.shape)
clean_rate, blurred_rate = regressed(every_step)[0], regressed(blurred)[0]
print(f"rate by regression of 200 steps: without noise {clean_rate:.6f}, with 0.1 % of noise {blurred_rate:.6f}")

# %% [markdown]
# ## A motion of the action
#
# Nine weights move by (8)–(10) with $m_x$, $m_W$ and $\vartheta$ that are to be found. The motion that is seen is integrated by
# Dopri8 to twelve digits, the fit uses constant steps of Tsit5. It sees the first half, with 1 % of noise, and predicts the second.

# %%
small, RECORDS, TRUE = ll.Layered((2, 3, 1)), 30, np.array([0.1, 1.0, 0.6])
signal = ll.Stimulus(
    ll.Sinusoids(jnp.array([1.0, 1.7]), jnp.array([1.0, 0.8]), jnp.array([0.3, 0.0])),
    ll.Sinusoids(jnp.array([0.7]), jnp.array([0.6]), jnp.array([0.2])),
)
V, times = small.init(jax.random.key(0)), np.linspace(0.0, 15.0, RECORDS + 1)


def moved(unknowns, **settings):
    mass_x, mass_W, theta = jnp.exp(unknowns)
    action = ll.CognitiveAction(small, mass_x=mass_x, mass_W=mass_W, dissipation=ll.ExponentialDissipation(theta))
    law = action.law()
    start = law.initial_state(0.0, V, args=signal)
    return ll.simulate(law, start, times, signal, save=flat_weights, watch="nothing", throw=False, **settings).saved[1:]


def stepped(unknowns):
    return moved(unknowns, solver=diffrax.Tsit5(), dt0=0.05, max_steps=300)


motion = np.asarray(jax.jit(lambda p: moved(p, solver=diffrax.Dopri8(), rtol=1e-12, atol=1e-13))(jnp.log(TRUE)))
far = np.sqrt(np.mean((motion[-1] - ravel_pytree(V)[0]) ** 2))
seen = motion + 0.01 * far * np.random.default_rng(2).normal(size=motion.shape)
action_run = jax.jit(lambda p: (stepped(p), jax.jacfwd(stepped)(p)))
wrong = np.log(TRUE) + np.log(2) * np.array([1, -1, 1])
half = RECORDS // 2
clean, _ = fit(action_run, wrong, motion, (4, 8, RECORDS))
logs, spread = fit(action_run, wrong, seen, (4, 8, half))
sigma = np.sqrt(np.diag(spread))
for name, value, true, s in zip(("m_x", "m_W", "ϑ"), np.exp(logs), TRUE, sigma, strict=True):
    print(f"{name:4s} truth {true:.4f}, found from the first half {value:.4f} ± {value * s:.4f}")
predicted = np.asarray(stepped(jnp.asarray(logs)))
missed, still = (np.sqrt(np.mean((guess - motion[half:]) ** 2)) / far for guess in (predicted[half:], seen[half - 1]))
print(f"second half: {missed:.2%} of the way off; weights that stay where they were: {still:.0%}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
for k, weight in enumerate(range(0, seen.shape[1], 3)):
    left.plot(
        times[1 : half + 1], seen[:half, weight], "o", color="k", ms=3, label="seen, with noise" if k == 0 else None
    )
    left.plot(
        times[half + 1 :], motion[half:, weight], "o", mfc="none", color="k", ms=3, label="not seen" if k == 0 else None
    )
    left.plot(times[1:], predicted[:, weight], color="C0", label="run with the constants found" if k == 0 else None)
left.axvline(times[half], color="0.6", lw=1)
left.set(xlabel="time", ylabel="three of the weights", title="the second half from the first")
left.legend(fontsize=8)
shown = [*(found - truth), *(logs - np.log(TRUE))]
right.errorbar(range(5), 100 * np.array(shown), 164.5 * np.array([*deviations, *sigma]), fmt="o", color="C0", capsize=4)
right.axhline(0, color="k", lw=0.8)
right.set_xticks(range(5), ["rate", "−log momentum", "m_x", "m_W", "ϑ"])
right.set(ylabel="error, %", title="constants found, with 90 % intervals")
plt.show()

# %% [markdown]
# ## The result
#
# * Rate and momentum of a run by another library are found from ten checkpoints, to rounding without noise, to some 1e-4 with
#   noise of 1 %. Regression needs every step, and is twenty times as wrong at a tenth of that noise.
# * Masses and friction of the action are found as well, with error bars, and the run goes on as predicted.
# * The study `identification` repeats this a hundred times: 84 to 91 % of the 90 % intervals hold the truth
#   (`lagrangian-learning study identification`).
# * What this leaves out: data in an unknown order, and constants that are not one number; each more unknown costs a derivative more.

# %%
assert np.all(np.abs(exact - truth) < 1e-9)  # SGD's own constants, to rounding
assert np.all(np.abs(found - truth) < 4 * deviations)  # and within their error bars
assert np.all(deviations < 2e-3)
assert abs(clean_rate / RATE - 1) < 1e-9  # regression is exact without noise,
assert abs(blurred_rate / RATE - 1) > 10 * abs(np.exp(found[0]) / RATE - 1)  # and worse with a tenth of the noise
assert np.all(np.abs(clean - np.log(TRUE)) < 1e-4)  # masses and friction, by another solver
assert np.all(np.abs(logs - np.log(TRUE)) < 4 * sigma)
assert missed < 0.1 * still  # and what comes after
