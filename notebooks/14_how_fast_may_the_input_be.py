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
# # 14 · An analog network: how fast may its input be?
#
# **What the user wants.** A network is built from analog neurons, each a resistor and a capacitor with the time constant
# $RC=1/c$, and a second wave carries the errors back through parts of the same kind. Up to which frequency of the input
# do the forces on the weights still point along the gradient of the loss?
#
# The neurons follow (18) and the errors (20) with the causal sign, which is `ll.BackpropDiffusion`:
#
# $$\dot x=c\,(\sigma(Wx)-x),\qquad \dot\delta=-c\,(G_\xi^{\mathsf T}\delta+V_\xi),\qquad
# \gamma\,\dot W_{ij}=\sigma'(a_i)\,\delta_i\,x_j .$$
#
# At rest the right side of the last equation is $-\partial V/\partial W$. While the input moves, $x$ and $\delta$ lag
# behind it. The measure is the cosine between the force and the gradient of the present input, over one period and all
# weights. The limit is the frequency at which it falls under 0.99.
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
from scipy.integrate import solve_ivp

import lagrangian_learning as ll

jax.config.update("jax_enable_x64", True)
ll.plot.use_style()

# %% [markdown]
# ## The network and its signals
#
# Two inputs and the target are sinusoids of one frequency $\omega$ and several phases, so that everything is periodic.
# The weights stand still while the force is measured: their friction $\gamma$ is huge. The run counts time by the phase
# $\omega t$: then the frequency of the signals is 1, the speed is $c/\omega$, and the saved times are plain numbers.

# %%
network = ll.Layered((2, 4, 1))
W = network.init(jax.random.key(3))
PHASES, GOAL_PHASE, FROZEN, LIMIT = jnp.array([0.0, 1.1]), jnp.array([2.0]), 1e12, 0.99
WAIT, SAMPLES = 4, 64  # periods until transients are gone, and instants of the period that is measured


inputs, goal = ll.Sinusoids(1.0, 1.0, PHASES), ll.Sinusoids(1.0, 0.5, GOAL_PHASE)
stimulus = ll.Stimulus(inputs, goal)
times = 2 * np.pi * np.concatenate([[0.0], WAIT + np.arange(SAMPLES + 1) / SAMPLES])


def forces(omega, c):
    """−∂V/∂W as the two waves form it, and as it is, at the instants of one period."""
    law = ll.BackpropDiffusion(network, ll.SquaredError(), FROZEN, c / omega)
    start = law.initial_state(0.0, W, args=stimulus)
    path = ll.simulate(law, start, times, stimulus, solver=diffrax.Tsit5(), rtol=1e-8, max_steps=2**14, watch="nothing")

    def at(t, x, delta):
        here = network.forward(W, stimulus.input(t))
        true = ll.delta_errors(network, ll.SquaredError(), here, W, stimulus.target(t))
        return ll.learning.descent_force(network, x, W, delta), ll.learning.descent_force(network, here, W, true)

    return jax.vmap(at)(
        jnp.asarray(times[2:]), *(jax.tree.map(lambda leaf: leaf[2:], part) for part in (path.x, path.multipliers))
    )


def cosine(omega, c):
    formed, true = (jnp.concatenate([jnp.ravel(leaf) for leaf in tree]) for tree in forces(omega, c))
    return formed @ true / jnp.sqrt((formed @ formed) * (true @ true))


# %% [markdown]
# ## A sweep
#
# Thirteen frequencies at $c=1$, as lanes of `jax.vmap`.

# %%
sweep = np.geomspace(3e-3, 3.0, 13)
cosines = np.asarray(jax.jit(jax.vmap(lambda omega: cosine(omega, jnp.ones(()))))(jnp.asarray(sweep)))
for omega, value in zip(sweep, cosines, strict=True):
    print(f"ω = {omega:7.4f} c   cosine {value:+.6f}")

# %% [markdown]
# ## The limit, by Newton's method
#
# The derivative of the cosine by the frequency goes through the run, in forward mode. At low frequency
# $1-\cos\propto\omega^2$, so Newton's method is applied to $\sqrt{1-\cos}=\sqrt{0.01}$, which is almost a straight line.


# %%
@jax.jit
def value_and_slope(omega, c):
    """√(1 − cosine), and its derivative by ω."""
    return jax.jvp(lambda omega: jnp.sqrt(1 - cosine(omega, c)), (omega,), (jnp.ones(()),))


def limit(c, omega):
    for step in range(8):
        value, slope = (float(part) for part in value_and_slope(jnp.asarray(omega), jnp.asarray(c)))
        print(f"  step {step}: ω = {omega:.8f}, cosine {1 - value**2:.10f}")
        if abs(value - np.sqrt(1 - LIMIT)) < 1e-9:
            break
        omega -= (value - np.sqrt(1 - LIMIT)) / slope
    return omega, slope


print("c = 1")
slow, slope = limit(1.0, 0.02)
print("c = 50")
fast, _ = limit(50.0, 3.0)
print(f"limit {slow:.5f} c and {fast / 50:.5f} c;  RC = 1 µs: {slow * 1e6 / (2 * np.pi) / 1e3:.2f} kHz")

# %% [markdown]
# Only $\omega/c$ can matter, since nothing else has a unit of time. Hence the limit is proportional to $c$: halving $RC$
# doubles the speed.
#
# ## Check 1: SciPy, on equations written by hand
#
# The same two waves in NumPy, integrated by SciPy. At the limit the cosine has to be 0.99, and a central difference has to
# be the derivative that Newton's method used.

# %%
W1, W2 = (np.asarray(w) for w in W)


def by_hand(t, y, omega):
    x0, x1, x2, d0, d1, d2 = np.split(y, np.cumsum([2, 4, 1, 2, 4]))
    z1, z2 = np.tanh(W1 @ x0), np.tanh(W2 @ x1)
    u, goal = np.sin(omega * t + np.asarray(PHASES)), 0.5 * np.sin(omega * t + 2.0)
    back0, back1 = W1.T @ ((1 - z1**2) * d1), W2.T @ ((1 - z2**2) * d2)
    return np.concatenate([u - x0, z1 - x1, z2 - x2, back0 - d0, back1 - d1, goal - x2 - d2])


def gradient_by_hand(u, goal):
    """−∂V/∂W of one input, all weights in a row."""
    x1 = np.tanh(W1 @ u)
    x2 = np.tanh(W2 @ x1)
    p2 = (1 - x2**2) * (goal - x2)
    p1 = (1 - x1**2) * (W2.T @ p2)
    return np.concatenate([np.outer(p1, u).ravel(), np.outer(p2, x1).ravel()])


def true_at(t, omega):
    return gradient_by_hand(np.sin(omega * t + np.asarray(PHASES)), 0.5 * np.sin(omega * t + 2.0))


def cosine_of(a, b):
    return np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b))


def cosine_by_scipy(omega):
    instants = 2 * np.pi / omega * (WAIT + np.arange(1, SAMPLES + 1) / SAMPLES)
    settings = {"method": "DOP853", "rtol": 1e-10, "atol": 1e-12, "args": (omega,)}
    waves = solve_ivp(by_hand, (0, instants[-1]), np.zeros(14), t_eval=instants, **settings).y.T
    formed = []
    for x0, x1, d1, d2 in zip(waves[:, :2], waves[:, 2:6], waves[:, 9:13], waves[:, 13:], strict=True):
        p1, p2 = (1 - np.tanh(W1 @ x0) ** 2) * d1, (1 - np.tanh(W2 @ x1) ** 2) * d2
        formed.append(np.concatenate([np.outer(p1, x0).ravel(), np.outer(p2, x1).ravel()]))
    return cosine_of(np.array(formed), np.array([true_at(t, omega) for t in instants]))


by_scipy = cosine_by_scipy(slow)
up, down = (np.sqrt(1 - cosine_by_scipy(slow * (1 + h))) for h in (1e-4, -1e-4))
slope_by_scipy = (up - down) / (2e-4 * slow)
print(f"cosine at the limit by SciPy: {by_scipy:.8f};  slope {slope:.6f}, by differences {slope_by_scipy:.6f}")

# %% [markdown]
# ## Check 2: why there? Delays
#
# Slow signals pass a part with time constant $1/c$ with the delay $1/c$. So $x_0,x_1,x_2$ are the values of
# $1,2,3$ time constants ago. The error adds one delay: in $\delta_2=y-x_2$ the target is 1 and the output 4 old, and in
# $\delta_1$ they are 2 and 5 old. Put into the product $\sigma'(a_i)\,\delta_i\,x_j$, these delays give the limit
# without integrating anything.


# %%
def delayed_force(t, omega):
    """What the weights feel, made of signals that are a number of time constants old."""

    def u(age):
        return np.sin(omega * (t - age) + np.asarray(PHASES))

    def goal(age):
        return 0.5 * np.sin(omega * (t - age) + 2.0)

    def hidden(age):
        return np.tanh(W1 @ u(age))

    def output(age):
        return np.tanh(W2 @ hidden(age))

    p2 = (1 - output(2) ** 2) * (goal(1) - output(4))  # σ′(a₂) reads x₁, which is 2 old
    late2 = (1 - output(3) ** 2) * (goal(2) - output(5))  # the same, one delay later
    p1 = (1 - hidden(1) ** 2) * (W2.T @ late2)
    return np.concatenate([np.outer(p1, u(1)).ravel(), np.outer(p2, hidden(2)).ravel()])


def cosine_by_delays(omega):
    instants = 2 * np.pi / omega * np.arange(SAMPLES) / SAMPLES
    formed = np.array([delayed_force(t, omega) for t in instants])
    return cosine_of(formed, np.array([true_at(t, omega) for t in instants]))


candidates = slow * np.geomspace(0.25, 4.0, 1000)
predicted = candidates[np.argmax(np.array([cosine_by_delays(omega) for omega in candidates]) < LIMIT)]
print(f"limit by delays alone {predicted:.5f} c, by the run {slow:.5f} c: {predicted / slow - 1:+.1%}")

# %% [markdown]
# ## What it means for learning
#
# The weights are let go, with a friction that is large beside every period, so that they follow the mean force. The
# teacher is a network of the same shape with other weights, reading the present input; the loss is that of the present
# input, too. Each frequency has the same time to learn.

# %%
teacher = network.init(jax.random.key(8))
GAMMA, TIME = 100.0, 6000.0


@jax.jit
@jax.vmap
def learned(omega):
    """Mean loss over one period before and after learning, divided by the mean of the target's square."""
    shown = ll.Sinusoids(omega, 1.0, PHASES)
    stimulus = ll.Stimulus(shown, lambda t: network.output(network.forward(teacher, shown(t))))
    law = ll.BackpropDiffusion(network, ll.SquaredError(), GAMMA, 1.0)
    start, ends = law.initial_state(0.0, W, args=stimulus), jnp.array([0.0, TIME])
    path = ll.simulate(law, start, ends, stimulus, solver=diffrax.Tsit5(), dt0=0.5, max_steps=2**14, watch="nothing")
    instants = 2 * jnp.pi / omega * jnp.arange(SAMPLES) / SAMPLES
    goals = jax.vmap(stimulus.target)(instants)

    def loss(W):
        outputs = jax.vmap(lambda t: network.output(network.forward(W, shown(t))))(instants)
        return jnp.sum((outputs - goals) ** 2) / jnp.sum(goals**2)

    return loss(W), loss(path.final_state.q[1])


rates = slow * np.array([0.25, 0.5, 1.0, 2.0, 4.0, 16.0])
before, after = (np.asarray(part) for part in learned(jnp.asarray(rates)))
for omega, first, last in zip(rates, before, after, strict=True):
    print(f"ω = {omega / slow:5.2f} × limit: relative loss {first:.3f} → {last:.4f}")

# %% [markdown]
# ## How many devices learn?
#
# No two chips are alike. Here are 64 devices, each with its own $RC$ (log-normal, 20 %), its own weights at the start
# and its own phases of the two inputs, which now have different frequencies. All have 12 periods to learn the teacher,
# at an input five times slower than $c$. A device has learned if the loss is then under 5 % of the target's power. The
# share of those is the yield, and the rate $1/\gamma$ decides: slow rates do not end in time, fast ones follow the
# delays. The sigmoid of the logarithm of the loss stands for the yield where a derivative is asked for; it goes
# through all of learning.

# %%
DEVICES, SPEED, LEARN, STEP, LEARNED, WIDTH = 64, 5.0, 24 * np.pi, 0.1, 0.05, 0.5
keys = jax.random.split(jax.random.key(0), DEVICES)
starts = jax.vmap(network.init)(keys)
speeds = SPEED * jnp.exp(0.2 * jax.random.normal(jax.random.key(1), (DEVICES,)))
phases = jax.random.uniform(jax.random.key(2), (DEVICES, 2), maxval=2 * jnp.pi)
angles = np.meshgrid(2 * np.pi * np.arange(8) / 8, 2 * np.pi * np.arange(8) / 8)
held_out = np.sin(np.stack(angles, axis=-1)).reshape(-1, 2)


def outputs(W):
    return jax.vmap(lambda u: network.output(network.forward(W, u)))(jnp.asarray(held_out))


def log_loss(log_rate, W, c, phase):
    """The logarithm of one device's loss on held-out inputs after learning, over the target's power."""
    shown = ll.Sinusoids(jnp.array([1.0, 0.77]), 1.0, phase)
    stimulus = ll.Stimulus(shown, lambda t: network.output(network.forward(teacher, shown(t))))
    law = ll.BackpropDiffusion(network, ll.SquaredError(), jnp.exp(-log_rate), c)
    start, ends = law.initial_state(0.0, W, args=stimulus), np.array([0.0, LEARN])
    steps = {"solver": diffrax.Heun(), "dt0": STEP, "watch": "nothing", "adjoint": diffrax.ForwardMode()}
    path = ll.simulate(law, start, ends, stimulus, **steps)
    goals = outputs(teacher)
    return jnp.log(jnp.sum((outputs(path.final_state.q[1]) - goals) ** 2) / jnp.sum(goals**2))


def smooth_yield(log_rate):
    """A smooth yield, and the yield."""
    logs = jax.vmap(log_loss, (None, 0, 0, 0))(log_rate, starts, speeds, phases)
    return jnp.mean(jax.nn.sigmoid((np.log(LEARNED) - logs) / WIDTH)), jnp.mean(logs < np.log(LEARNED))


@jax.jit
def yield_and_slope(log_rate):
    return jax.jvp(smooth_yield, (log_rate,), (jnp.ones(()),))


rated = np.log([0.02, 0.1, 0.2, 1.0])
smooth, shares, by_rate = [], [], []
for log_rate in rated:
    (value, share), (slope_of_yield, _) = yield_and_slope(jnp.asarray(log_rate))
    smooth.append(float(value)), shares.append(float(share)), by_rate.append(float(slope_of_yield))
    print(
        f"rate {np.exp(log_rate):4.2f}: {share:4.0%} learn; smooth yield {value:.3f}, by log rate {slope_of_yield:+.3f}"
    )
up, down = (float(yield_and_slope(jnp.asarray(rated[2] + h))[0][0]) for h in (1e-4, -1e-4))
print(f"by log rate at {np.exp(rated[2]):.1f}, by differences: {(up - down) / 2e-4:+.6f}, by the run {by_rate[2]:+.6f}")

# %% [markdown]
# The derivative changes its sign between the rates where the yield is largest: an optimiser can find them. The study
# `analog_yield` does this with seven constants, where every neuron and every weight is unequal, and judges the design on
# 10,000 other devices.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5))
left.loglog(sweep, 1 - cosines, "o", color="C0", label="waves, measured")
line = np.geomspace(3e-3, 0.3, 40)
left.loglog(line, [1 - cosine_by_delays(omega) for omega in line], color="C1", label="delays alone")
left.axhline(1 - LIMIT, color="k", lw=0.8, ls=":")
left.plot(slow, 1 - LIMIT, "s", color="k", mfc="none", ms=9, label=f"limit, ω = {slow:.4f} c")
left.set(xlabel="frequency ω / c", ylabel="1 − cosine", title="force of the waves against the gradient")
left.legend(fontsize=8)
right.loglog(rates / slow, after, "o-", color="C0", label="after learning")
right.axhline(before[0], color="C1", label="before")
right.axvline(1, color="k", lw=0.8, ls=":")
right.set(xlabel="frequency / limit", ylabel="relative loss", title="what is learned in the same time")
right.legend(fontsize=8)
plt.show()

# %% [markdown]
# ## The result
#
# * The limit of this network is $\omega=0.0568\,c$: with $RC$ = 1 µs, 9 kHz. It is proportional to $c$, and Newton's method
#   finds it in three steps, with a derivative through the run.
# * Delays alone predict it within a percent: signals of one to five time constants are multiplied with each other.
# * At the limit the network still learns, at four times the limit almost nothing, and at sixteen times what it learns
#   is worse than nothing. So 0.99 is a sensible line.
# * What this leaves out: noise, mismatch of the parts, and weights that are not exactly symmetric.

# %%
assert abs(by_scipy - LIMIT) < 1e-6  # SciPy finds the same limit
assert abs(slope / slope_by_scipy - 1) < 1e-4  # and the same derivative
assert abs(fast / 50 / slow - 1) < 1e-6  # proportional to c
assert abs(predicted / slow - 1) < 0.03  # delays explain it
assert abs(np.log2((1 - cosines[1]) / (1 - cosines[0])) / np.log2(sweep[1] / sweep[0]) - 2) < 0.05  # 1 − cosine ∝ ω²
assert np.all(np.diff(after) > 0)  # the faster, the less is learned
assert after[2] < 0.1 * before[2]  # at the limit it learns,
assert after[-1] > before[-1]  # far above it does not
assert abs((up - down) / 2e-4 - by_rate[2]) < 1e-6  # the derivative through learning, by differences
assert by_rate[0] > 0 > by_rate[-1]  # slow rates do not end in time, fast ones follow the delays,
assert max(shares) > max(shares[0], shares[-1]) + 0.2  # and between them more devices learn
