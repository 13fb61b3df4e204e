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
# # 4 · Cauchy data and drift: how to start the motion, and how to keep its constraints
#
# (8)–(10) are second-order equations: a motion is fixed by $x,W,\dot x,\dot W$ at one instant. But not every choice is allowed, since the
# constraints hold for all times. With $g^i(t)=G^i(t,x(t),W(t))$ the paper asks for
#
# $$G^i(0,x(0),W(0))=0,\qquad G^i_\tau(0,x(0),W(0))=0,\qquad\dot x(0)=0,\qquad\dot W(0)=0. \tag{11}$$
#
# It calls the second one "an additional constraint on the initial conditions $x(0)$ and $W(0)$", and says of the whole that it is "one possible
# consistent way". This notebook shows
#
# 1. what (11) really constrains, and what the general choice is;
# 2. what happens if (11) is imposed where it does not fit, predicted exactly;
# 3. that a consistent start is not enough: integrated in time the constraints **drift**, which the paper does not mention, and what keeps them;
# 4. that the energy is accounted for.

# %%
import sys

if "google.colab" in sys.modules:  # install the package there
    import IPython

    IPython.get_ipython().run_line_magic("pip", 'install --quiet "lagrangian-learning[notebooks]"')

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from scipy.interpolate import CubicSpline

import lagrangian_learning as ll
from lagrangian_learning.networks import state_jacobian, weight_jacobian

jax.config.update("jax_enable_x64", True)
ll.plot.use_style()
BLUE, RED, GREY, GREEN = map(ll.plot.colour, ("weights", "multipliers", "muted", "neurons"))

# %% [markdown]
# ## 1 · What the Cauchy data must satisfy
#
# $g(0)=0$ and $g'(0)=0$ are necessary. Since $\ddot g=0$ is what (10) enforces, they are also sufficient: then $g\equiv0$. The second reads
#
# $$G_\tau+G_\xi\dot x+G_M\dot W=0. $$
#
# In (4) time enters through the input alone: $G_\tau=(-\dot e,0,\dots,0)$. **It contains neither $x$ nor $W$.** So $G_\tau=0$ is no condition on $x(0)$ or $W(0)$ at all: it is a condition on
# the *stimulus*, which must start at rest. That is an erratum. Measured, by differentiating the library's constraints in $t$, and the result in $x$ and $W$:

# %%
network = ll.networks.xor_network()
W = jnp.array([0.5, -0.8, 0.3, 1.1, -0.6, 0.9])
moving = ll.Stimulus(input=ll.Sinusoids(jnp.array([1.0, 1.6]), 0.7, jnp.array([0.0, 0.5])), target=jnp.array([0.4]))


def time_term(x, W, t=0.0):
    return jax.jvp(lambda s: network.constraint(x, W, moving.input(s)), (t,), (1.0,))[1]


x = network.forward(W, moving.input(0.0))
G_tau = np.asarray(time_term(x, W))
G_tau_by = jax.jacfwd(time_term, (0, 1))(x, W)
rate_of_input = 0.7 * np.array([1.0, 1.6]) * np.cos([0.0, 0.5])
print("G_τ              ", G_tau)
print("−ė, by hand      ", -rate_of_input)
print("∂G_τ/∂x, ∂G_τ/∂W ", *(float(jnp.abs(part).max()) for part in G_tau_by))

# %% [markdown]
# If the input moves at the start, (11) has no solution, whatever $x(0)$ and $W(0)$ are. The library offers (11) as `cauchy="paper"` and says so:

# %%
action = ll.CognitiveAction(network, mass_x=0.02, mass_W=1.0, dissipation=ll.ExponentialDissipation(1.0))
law = action.law("full")
try:
    law.initial_state(0.0, W, args=moving, cauchy="paper")
    refusal = ""
except ValueError as error:
    refusal = str(error)
print(refusal)

# %% [markdown]
# **The general choice.** $W(0)$ *and* $\dot W(0)$ are free, and the neurons follow, since $G_\xi$ can be inverted (Proposition 1):
#
# $$\dot x(0)=-G_\xi^{-1}\,(G_\tau+G_M\dot W). $$
#
# This is the library's default. It never forms $G_\xi^{-1}$: $\dot x$ is the directional derivative of the forward pass. Against the formula, solved in NumPy:

# %%
W_dot = jnp.array([0.2, -0.4, 0.7, 0.1, 0.5, -0.3])
start = law.initial_state(0.0, W, W_dot, moving)
by_x, by_W = state_jacobian(network, x, W), weight_jacobian(network, x, W)
x_dot = -np.linalg.solve(by_x, G_tau + by_W @ W_dot)
error_start = np.abs(start.v[0] - x_dot).max()
print(f"ẋ(0) of the library {np.round(start.v[0], 4)}, from the formula the same up to {error_start:.0e}")

# %% [markdown]
# ## 2 · If (11) is imposed all the same
#
# Say $G=0$, $\dot x=0$, $\dot W=0$, but the input moves. The equations then keep $\ddot g=0$ exactly, so that
#
# $$g(t)=g(0)+t\,\dot g(0)=-t\,\dot e(0)$$
#
# on the input neurons: they stay where they are set at rest, and leave the input at the speed with which it moved at $t=0$. Not an approximation but a prediction
# to all digits. `ll.simulate` refuses such a start, so here and below we step by ourselves: classical Runge–Kutta on the law's vector field, for
# several starts side by side. The gains $\alpha,\beta$ are zero for now; section 3 explains them.

# %%
RECORDS, STEPS_EACH = 200, 25


def runge_kutta(law, t, state, h):
    def moved(rates, c):
        return jax.tree.map(lambda s, k: s + c * k, state, rates)

    k1 = law.vector_field(t, state, moving)
    k2 = law.vector_field(t + h / 2, moved(k1, h / 2), moving)
    k3 = law.vector_field(t + h / 2, moved(k2, h / 2), moving)
    k4 = law.vector_field(t + h, moved(k3, h), moving)
    return jax.tree.map(lambda s, a, b, c, d: s + h / 6 * (a + 2 * b + 2 * c + d), state, k1, k2, k3, k4)


def motion(law, state, h, finish=lambda t, state: state):
    """The states at RECORDS times, STEPS_EACH steps of h between them; `finish` is called after every step."""

    def step(n, state):
        return finish((n + 1) * h, runge_kutta(law, n * h, state, h))

    def record(state, k):
        state = jax.lax.fori_loop(k * STEPS_EACH, (k + 1) * STEPS_EACH, step, state)
        return state, state

    return jax.lax.scan(record, state, jnp.arange(RECORDS))[1]


def off_constraints(states, h):
    times = jnp.arange(1, RECORDS + 1) * STEPS_EACH * h
    return jax.vmap(lambda t, state: network.constraint(*state.q, moving.input(t)))(times, states)


def both(first, second):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), first, second)


@jax.jit
def with_gains(states, gains, h):
    """Motions from a batch of states, each with its gains (α, β): the states, and G at their times."""

    def one(state, gain):
        states = motion(law.baumgarte(gain[0], gain[1]), state, h)
        return states, off_constraints(states, h)

    return jax.vmap(one)(states, gains)


# %%
wrong = ll.State((x, W), (jnp.zeros(5), jnp.zeros(6)))
_, (g_wrong, g_right) = with_gains(both(wrong, start), jnp.zeros((2, 2)), jnp.asarray(2 / 5000))
ts = np.arange(1, RECORDS + 1) / 100
predicted = -np.outer(ts, [*rate_of_input, 0, 0, 0])
error_predicted = np.abs(g_wrong - predicted).max()
print(f"g(t) against −t ė(0): {error_predicted:.0e}; with the general start max |g| = {np.abs(g_right).max():.0e}")
try:
    ll.simulate(law, wrong, ts, moving)
    refused = ""
except eqx.EquinoxRuntimeError as error:
    refused = str(error)

figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
for k, colour in ((0, BLUE), (1, RED), (4, GREY)):
    ax.plot(ts, g_wrong[:, k], color=colour, lw=2, label=f"$g^{k + 1}$, started by (11)")
    ax.plot(ts[19::20], predicted[19::20, k], "o", color=colour, ms=4)
ax.plot([], [], "ko", ms=4, label="predicted, $-t\\,\\dot e(0)$")
ax.set(xlabel="time", title="(11) on an input that moves: constraints are left")
ax.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# **How smooth must the input be?** The paper asks for $e\in C^1$ with (4). But (10) contains $G_{\tau\tau}=-\ddot e$, so that $\ddot e$ must exist, and where it jumps the multipliers and all
# accelerations jump: $e\in C^2$. An input that is $0$ before and $\frac12t^2$ after $t=0$ is $C^1$; (10) predicts the jump
# $S\,\Delta\delta=-\Delta\ddot e$, $S=G_\xi G_\xi^{\mathsf T}/m_x+G_MG_M^{\mathsf T}/m_W$:

# %%
kink = ll.Stimulus(input=lambda t: jnp.where(t > 0, jnp.stack([t**2 / 2, 0 * t]), 0.0) + 0.3, target=jnp.array([0.4]))
multipliers = jax.jit(lambda t: law.accelerations(t, law.initial_state(t, W, args=kink), kink)[1])
before, after = multipliers(-1e-9), multipliers(1e-9)
x_kink = network.forward(W, jnp.full(2, 0.3))
by_x, by_W = (np.asarray(jacobian(network, x_kink, W)) for jacobian in (state_jacobian, weight_jacobian))
jump = np.linalg.solve(by_x @ by_x.T / 0.02 + by_W @ by_W.T, [-1.0, 0, 0, 0, 0])
error_jump = np.abs(after - before - jump).max()
print("jump of δ, measured  ", np.round(after - before, 6))
print("jump of δ, from (10) ", np.round(jump, 6))

# %% [markdown]
# ## 3 · Drift
#
# In exact arithmetic a consistent start keeps $g\equiv0$. A stepper makes a small error in $g$ and in $\dot g$ at each step, and nothing in $\ddot g=0$ ever takes it back: errors of $\dot g$ accumulate
# like a random walk or worse, and $g$ integrates them. This is the well-known drift of *index reduction*. The paper's programme, "differentiate the constraints twice", needs a remedy. Three are
# classical:
#
# * **nothing**: $\ddot g=0$;
# * **Baumgarte**: solve $\ddot g+2\alpha\dot g+\beta^2g=0$ instead, so that errors decay;
# * **projection**: after each step move $x,W$ back onto $G=0$ and then $\dot x,\dot W$ onto $\dot g=0$, orthogonally in the metric of the masses.
#
# And one that only neurons allow: **reduced coordinates**, where only $W$ is integrated and $x$ *is* the forward pass. That is a second, independent way to the same motion.
#
# All of them, 5,000 steps of $h=0.02$, in float32 and float64. (`ll.simulate` has them as `stabilisation=ll.NoStabilisation()`, `ll.Baumgarte(alpha, beta)` and
# `ll.Projection()`, the default in full coordinates; the default of `action.law()` are reduced coordinates.)

# %%
H = 0.02
GAINS = jnp.array([[0.0, 0.0], [10.0, 10.0]])  # nothing, Baumgarte


@jax.jit
def projected(state, h):
    states = motion(law, state, h, finish=lambda t, state: law.project(t, state, moving)[0])
    return states, off_constraints(states, h)


@jax.jit
def reduced(state, h):
    return motion(action.law("reduced"), state, h)


reference = reduced(ll.State(W, W_dot), jnp.asarray(H)).q
drift, error_W = {}, {}
for bits, dtype in (("32", jnp.float32), ("64", jnp.float64)):
    state, h = jax.tree.map(lambda leaf, dtype=dtype: leaf.astype(dtype), start), jnp.asarray(H, dtype)
    pair, G_pair = with_gains(both(state, state), GAINS.astype(dtype), h)
    kept, G_kept = projected(state, h)
    for name, weights, G in (
        ("nothing", pair.q[1][0], G_pair[0]),
        ("Baumgarte", pair.q[1][1], G_pair[1]),
        ("projection", kept.q[1], G_kept),
    ):
        drift[name, bits] = np.abs(G).max(axis=1)
        error_W[name, bits] = float(jnp.abs(weights - reference).max())
print(f"{'':<12}{'float':>6}{'max |G|':>10}{'error of W, against reduced coordinates':>42}")
for (name, bits), values in drift.items():
    print(f"{name:<12}{bits:>6}{values.max():>10.0e}{error_W[name, bits]:>14.0e}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.3), layout="constrained", sharey=True)
times = np.arange(1, RECORDS + 1) * STEPS_EACH * H
for ax, bits in zip(axes, ("32", "64"), strict=True):
    for name, colour in (("nothing", RED), ("Baumgarte", GREY), ("projection", BLUE)):
        ax.semilogy(times, np.maximum(drift[name, bits], 1e-18), color=colour, lw=1.2, label=name)
    ax.set(xlabel="time", title=f"max |G|, float{bits}", ylim=(1e-19, 1))
axes[1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# With nothing the constraints are left steadily, in float64 too: there it is the stepper's error that accumulates, not rounding. Baumgarte's method stops the growth at the level of the error that its own
# steps make. Projection holds the constraints to rounding, and only then do full coordinates follow the reduced ones as closely as the stepper can.
#
# ## 4 · Energy
#
# Multiply (8) by $\dot x$, (9) by $\dot W$, divide by $\varpi$ and add. With $E=\frac12m_x|\dot x|^2+\frac12m_W|\dot W|^2+V$ and $G_\xi\dot x+G_M\dot W=-G_\tau$,
#
# $$\frac{dE}{dt}=\underbrace{-\vartheta\big(m_x|\dot x|^2+m_W|\dot W|^2\big)}_{\text{lost by friction}}+\underbrace{\delta\cdot G_\tau}_{\text{work of the input}}+\underbrace{V_t}_{\text{work of the target}} .$$
#
# The multipliers do work only where a constraint itself moves: $-\delta_j\dot e_j$ is the power with which the world moves input neuron $j$. First way: the
# library integrates the power beside the motion, `path.energy_balance`. Second way: energy and power from the recorded motion, in NumPy, the integral by a spline.

# %%
close = ll.simulate(law, start, np.linspace(0.0, 20.0, 1601), moving)
x, w, x_dot, w_dot, delta = (
    np.asarray(part) for part in (close.x, close.W, close.x_dot, close.W_dot, close.multipliers)
)
t = np.asarray(close.ts)
e_dot = 0.7 * np.array([1.0, 1.6]) * np.cos(t[:, None] * [1.0, 1.6] + [0.0, 0.5])
neurons, weights, loss = 0.02 * np.sum(x_dot**2, 1) / 2, np.sum(w_dot**2, 1) / 2, (x[:, 4] - 0.4) ** 2 / 2
energy = neurons + weights + loss
friction, work = -2 * (neurons + weights), -np.sum(delta[:, :2] * e_dot, 1)
lost, gained = (CubicSpline(t, power).antiderivative()(t) for power in (friction, work))
balance = np.abs(energy - energy[0] - lost - gained).max()
print(f"energy by the library against NumPy: {np.abs(energy - close.energy).max():.0e}")
print(
    f"balance closed to {np.abs(close.energy_balance).max():.0e} (library), {balance:.0e} (NumPy, spline); E up to {energy.max():.2f}"
)

# %%
figure, ax = plt.subplots(figsize=(8, 3.2), layout="constrained")
ax.plot(t, energy, color=BLUE, lw=5, alpha=0.35, label="energy $E$")
ax.plot(t, energy[0] + lost + gained, color=BLUE, lw=1.3, label="$E(0)$ + gained + lost")
ax.plot(t, gained, color=GREEN, lw=1.3, label="gained: work of the input")
ax.plot(t, lost, color=RED, lw=1.3, label="lost: friction")
ax.axhline(0, color="0.8", lw=0.8, zorder=0)
ax.set(xlabel="time", title="where the energy comes from, and goes")
ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# ## The verdict

# %%
verdicts = ll.verify.run(
    [
        "cauchy-data",
        "time-term-of-the-constraints",
        "smoothness-of-the-input",
        "subsidiary-conditions",
        "index-reduction-drifts",
    ]
)
verdicts

# %% [markdown]
# (11) is consistent where the stimulus starts at rest, and more than is needed: $\dot W(0)$ is free. Two errata: $G_\tau=0$ constrains the stimulus, not $x(0)$ and $W(0)$; and the input must be $C^2$. One
# remark: the motion must be kept on its constraints, or be integrated in reduced coordinates, where it cannot leave them.

# %%
assert np.allclose(G_tau, [*-rate_of_input, 0, 0, 0], atol=1e-15)
assert all(jnp.all(part == 0) for part in G_tau_by)  # erratum 5: no x, no W in G_τ
assert "this input moves at the start" in refusal
assert error_start < 1e-14  # the general Cauchy data
assert error_predicted < 1e-9  # (11) where it does not fit: g = −t ė(0)
assert np.abs(g_right).max() < 1e-9
assert "off the constraints" in refused  # and the library says so
assert error_jump < 1e-8  # erratum 6
assert np.abs(jump).max() > 1e-3
largest = {key: values.max() for key, values in drift.items()}
assert largest["projection", "64"] < 1e-14
assert largest["projection", "32"] < 1e-6
for bits in ("32", "64"):
    assert largest["nothing", bits] > 100 * largest["projection", bits]
    assert largest["projection", bits] < largest["Baumgarte", bits]
assert drift["nothing", "32"][-20:].mean() > 10 * drift["Baumgarte", "32"][-20:].mean()
assert error_W["projection", "64"] < 1e-6  # full and reduced coordinates agree
assert np.abs(close.energy_balance).max() < 1e-8
assert balance < 1e-6
assert verdicts.as_documented
