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
# # 18 · A swing-up by gradient
#
# **What the user wants.** A two-link arm hangs at rest. Its motors are too weak to lift it: holding it out level would take
# 14.7 N m at the shoulder and 4.9 N m at the elbow, and they have 6 and 3. Which torques bring it upright, and to rest there,
# in two seconds?
#
# The arm is two masses in Cartesian coordinates, held by two rods, so its motion is constrained. The torques are 42 numbers.
# Optax and SciPy move them along the gradient *through the constrained run*. The rival is a search without gradients that
# may run the arm as often as the gradients cost.
#
# The next cell does something on Colab only: it installs the package under the name that `pyproject.toml` gives it.
# Until a release is on PyPI, install it there from a copy of the repository instead.

# %%
import sys

if "google.colab" in sys.modules:
    import IPython

    IPython.get_ipython().run_line_magic("pip", 'install --quiet "lagrangian-learning[notebooks]"')

# %%
from itertools import pairwise

import diffrax
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from scipy.integrate import solve_ivp
from scipy.optimize import minimize

import lagrangian_learning as ll

jax.config.update("jax_enable_x64", True)
ll.plot.use_style()

# %% [markdown]
# ## The arm
#
# With the arms $r_1=q_1$ and $r_2=q_2-q_1$ of length $l$,
#
# $$\ell=\sum_i m\,\big(\tfrac12|\dot q_i|^2-g\,y_i\big),\qquad G_i=\tfrac12(|r_i|^2-l^2)=0 .$$
#
# A torque $\tau$ on a rod has the power $\tau\dot\theta$, and $\dot\theta=n\cdot\dot r/l$ with $n$ across the rod. Hence it is
# the force $\tau n/l$ at one end and its opposite at the other. The elbow's torque acts on both rods, with opposite signs.
# Torques are straight between 21 knots, $\tau=\tau_{\max}\tanh u$, so that they keep within their bounds for any $u$.

# %%
MASS, LENGTH, GRAVITY, TIME, KNOTS = 1.0, 0.5, 9.81, 2.0, 21
BOUNDS = np.array([6.0, 3.0])
UPRIGHT = np.array([[0.0, LENGTH], [0.0, 2 * LENGTH]])
times = np.linspace(0.0, TIME, KNOTS)


def density(t, q, v, torques):
    return MASS * jnp.sum(jnp.sum(v**2, axis=1) / 2 - GRAVITY * q[:, 1])


def arms(q):
    return jnp.stack([q[0], q[1] - q[0]])


def rods(t, q, torques):
    return (jnp.sum(arms(q) ** 2, axis=1) - LENGTH**2) / 2


def motors(t, q, v, torques):
    shoulder, elbow = (jnp.interp(t, jnp.asarray(times), torques[:, k]) for k in range(2))
    r = arms(q)
    across = jnp.stack([-r[:, 1], r[:, 0]], axis=1) / jnp.sum(r**2, axis=1, keepdims=True)
    return jnp.stack([(shoulder - elbow) * across[0] - elbow * across[1], elbow * across[1]])


law = ll.EulerLagrange(ll.Lagrangian(density), ll.Holonomic(rods), forces=motors)


def swung(torques, **settings):
    start = law.initial_state(0.0, -jnp.asarray(UPRIGHT), args=torques)
    return ll.simulate(law, start, times, torques, **settings)


def torques_of(u):
    return BOUNDS * jnp.tanh(u.reshape(KNOTS, 2))


def loss(u):
    """Squares of the distance from upright in m, and of the speed in m/s with a tenth of the weight."""
    end = swung(torques_of(u), solver=diffrax.Tsit5(), dt0=0.02, watch="nothing").final_state
    return jnp.sum((end.q - UPRIGHT) ** 2) + 0.1 * jnp.sum(end.v**2)


value, value_and_slope = jax.jit(loss), jax.jit(jax.value_and_grad(loss))

# %% [markdown]
# ## The gradient, and a check of it
#
# Along a random direction, against a central difference. And a warning: with no torque at all the gradient is zero. The arm
# hangs in the plane of symmetry, and what is first order in the torques is across it. A search has to begin beside it.

# %%
rng = np.random.default_rng(0)
u, direction = rng.normal(size=(2, 2 * KNOTS)) / 2
h = 1e-4
slope = float(value_and_slope(jnp.asarray(u))[1] @ direction)
difference = (float(value(jnp.asarray(u + h * direction))) - float(value(jnp.asarray(u - h * direction)))) / (2 * h)
still = float(jnp.linalg.norm(value_and_slope(jnp.zeros(2 * KNOTS))[1]))
print(f"along a direction: gradient {slope:.9f}, difference {difference:.9f};  at no torque |gradient| = {still:.1e}")

# %% [markdown]
# ## Adam, then BFGS
#
# 200 gradients of Adam from small random torques, and 160 steps of BFGS from where it came.

# %%
STEPS = 200
start = jnp.asarray(0.1 * rng.normal(size=2 * KNOTS))
optimizer = optax.adam(optax.cosine_decay_schedule(0.1, STEPS))
found, memory, course = start, optimizer.init(start), []
for _ in range(STEPS):
    now, by_u = value_and_slope(found)
    course.append(float(now))
    updates, memory = optimizer.update(by_u, memory)
    found = optax.apply_updates(found, updates)


def both(u):
    now, by_u = value_and_slope(jnp.asarray(u))
    course.append(float(now))
    return float(now), np.asarray(by_u)


best = minimize(both, np.asarray(found), jac=True, method="BFGS", options={"maxiter": 160, "gtol": 1e-9}).x
torques = torques_of(jnp.asarray(best))
print(f"loss {course[0]:.2f} → {course[STEPS - 1]:.1e} by Adam → {min(course):.1e} by BFGS, {len(course)} gradients")

# %% [markdown]
# ## Check: two angles, SciPy
#
# With the angles $\theta_1,\theta_2$ from the vertical the arm has no constraint. Its two equations are written by hand and
# integrated by SciPy under the torques that were found.

# %%
path = jax.jit(lambda torques: swung(torques, solver=diffrax.Dopri8(), rtol=1e-12, max_steps=4096))(torques)


def rates(t, y):
    p, r, dp, dr = y
    shoulder, elbow = (np.interp(t, times, np.asarray(torques)[:, k]) for k in range(2))
    inertia = MASS * LENGTH**2
    cross, swing = inertia * np.cos(p - r), inertia * np.sin(p - r)
    weight = MASS * GRAVITY * LENGTH
    push = [
        shoulder - elbow - swing * dr**2 - 2 * weight * np.sin(p),
        elbow + swing * dp**2 - weight * np.sin(r),
    ]
    return np.append([dp, dr], np.linalg.solve([[2 * inertia, cross], [cross, inertia]], push))


y = np.zeros(4)
for begin, end in pairwise(times):
    y = solve_ivp(rates, (begin, end), y, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
places = np.cumsum(LENGTH * np.stack([np.sin(y[:2]), -np.cos(y[:2])], axis=1), axis=0)
apart = np.abs(places - np.asarray(path.q)[-1]).max()
distance, speed = np.linalg.norm(places - UPRIGHT), float(jnp.linalg.norm(path.v[-1]))
residual = float(path.constraint_residual.max())
print(f"ends {1e3 * distance:.1f} mm from upright at {1e3 * speed:.1f} mm/s")
print(f"two angles end {apart:.1e} m elsewhere; largest |G| along the run {residual:.1e}")

# %% [markdown]
# ## The rival
#
# Powell's method in SciPy takes no gradient. A gradient costs about three runs, so it gets three runs for each.

# %%
tried = []


def bare(u):
    tried.append(float(value(jnp.asarray(u))))
    return tried[-1]


minimize(bare, np.asarray(start), method="Powell", options={"maxfev": 3 * len(course)})
print(f"without gradients: {min(tried):.1e} after {len(tried)} runs; by gradients {min(course):.1e}")

# %%
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.6))
joints = np.pad(np.asarray(path.q), ((0, 0), (1, 0), (0, 0)))
for share, places_now in zip(np.linspace(0.15, 1, KNOTS), joints, strict=True):
    left.plot(*places_now.T, "o-", color="C1" if share == 1 else "C0", alpha=share, ms=3)
left.set(aspect="equal", xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), xlabel="m", title="every 0.1 s, pale at the start")
for k, name in enumerate(("shoulder", "elbow")):
    middle.plot(times, np.asarray(torques)[:, k], "o-", ms=3, color=f"C{k}", label=name)
    for side in (-1, 1):
        middle.axhline(side * BOUNDS[k], color=f"C{k}", lw=0.8, ls=":")
middle.set(xlabel="time, s", ylabel="torque, N m", title="the torques", ylim=(-6.6, 9))
middle.legend(fontsize=8, ncols=2)
right.loglog(3 * np.arange(1, len(course) + 1), np.minimum.accumulate(course), label="Adam, then BFGS")
right.loglog(np.arange(1, len(tried) + 1), np.minimum.accumulate(tried), label="Powell, no gradient")
right.set(xlabel="runs (a gradient counts as three)", ylabel="least loss so far", title="the searches")
right.legend(fontsize=8)
plt.show()

# %% [markdown]
# ## The result
#
# * Motors that cannot lift the arm swing it up, with torques that were found through its constrained motion.
# * The rods keep their lengths to rounding along the run, and two angles without any constraint end in the same place.
# * What this leaves out: upright is unstable. The torques are a plan, and holding the arm there takes feedback.

# %%
assert abs(slope / difference - 1) < 1e-6  # the gradient is right,
assert still < 1e-12  # and zero where the arm hangs without torque
assert apart < 1e-6  # SciPy in two angles ends in the same place,
assert distance < 0.02  # which is upright
assert speed < 0.1  # and nearly at rest
assert np.all(np.abs(torques) <= BOUNDS)
assert residual < 1e-12
assert min(course) < 0.1 * min(tried)  # a search without gradients is not there at the same cost
