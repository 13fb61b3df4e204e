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
# # 20 · Learning from other actions
#
# **What the user wants.** The paper's action is one of many. What is learned when its constraints are springs, and what
# when the weights have another kinetic energy? Both are written down as an action, and both meet names that one knows:
# predictive coding, momentum, gradient clipping, sign descent, Nesterov's acceleration. The equations are those of
# [the theory](../docs/theory.md), sections 10 and 11.
#
# The next cell does something on Colab only: it installs the package under the name that `pyproject.toml` gives it.
# Until a release is on PyPI, install it there from a copy of the repository instead.

# %%
import sys

if "google.colab" in sys.modules:
    import IPython

    IPython.get_ipython().run_line_magic("pip", 'install --quiet "lagrangian-learning[notebooks]"')

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import lagrangian_learning as ll

jax.config.update("jax_enable_x64", True)
ll.plot.use_style()

# %% [markdown]
# ## Constraints that are springs
#
# In place of G = 0 the action has −½κ|G|². Where the hard constraint had a multiplier δ, there stands κG. The stiffer the
# springs, the closer the weights to those of the paper: max|W − W_hard| falls as 1/κ.

# %%
network = ll.Layered((2, 3, 1))
stimulus = ll.Stimulus(
    ll.Sinusoids(jnp.array([1.0, 0.7]), 1.0, jnp.array([0.3, 1.1])), ll.Sinusoids(jnp.array([0.5]), 0.6)
)
W = network.init(jax.random.key(3))
ts = np.linspace(0.0, 1.0, 6)
constants = {"mass_x": 1.0, "mass_W": 1.0, "dissipation": ll.ExponentialDissipation(0.5)}


def learned(**more):
    law = ll.CognitiveAction(network, **constants, **more).law()
    start = law.initial_state(0.0, W, args=stimulus)
    return ll.simulate(law, start, ts, stimulus, rtol=1e-9, atol=1e-11, max_steps=None).W


def apart(left, right):
    return max(
        float(jnp.max(jnp.abs(a - b))) for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    )


hard = learned()
springs = np.array([1e2, 1e3, 1e4])
soft = np.array([apart(learned(stiffness=kappa), hard) for kappa in springs])
slope_of_springs = np.polyfit(np.log(springs), np.log(soft), 1)[0]
print("distance from the hard constraints:", *(f"{error:.1e}" for error in soft), f"slope {slope_of_springs:.3f}")

# %% [markdown]
# ## Predictive coding
#
# With friction in place of mass, neurons relax to the bottom of V + ½κ|G|² and weights follow: that is predictive coding,
# with the errors e = G. Neurons at rest give the weights the force of backpropagation up to 1/κ.

# %%
backprop = ll.GradientFlow(network).velocities(0.0, ll.State(W, None), stimulus)[0]


def at_rest(kappa):
    law = ll.PredictiveCoding(network, gamma_x=0.0, stiffness=kappa)
    return law.velocities(0.0, ll.State(W, None), stimulus)[0]


stiffnesses = np.logspace(2, 8, 7)
coded = np.array([apart(at_rest(kappa), backprop) for kappa in stiffnesses])
slope_of_coding = np.polyfit(np.log(stiffnesses[2:]), np.log(coded[2:]), 1)[0]
print("force apart from backpropagation:", *(f"{error:.0e}" for error in coded), f"slope {slope_of_coding:.3f}")

# %% [markdown]
# ## A kinetic energy is an optimiser
#
# ℓ = K(Ẇ) − V: K says how momentum becomes velocity. A narrow valley, and four masses that roll down from one place: one
# heavy ball; one that goes no faster than c; one whose every coordinate goes no faster than c; and one without mass, whose
# coordinates move by ±c.


# %%
def valley(t, W, args):
    return (W[0] ** 2 + 25 * W[1] ** 2) / 2


c, friction = 0.3, ll.ExponentialDissipation(2.0)
energies = {
    "½m|v|²": ll.Quadratic(0.5),
    "relativistic, |v| < c": ll.Relativistic(0.5, c),
    "relativistic, each |vᵢ| < c": ll.Relativistic(0.5, c, over="each"),
    "massless, vᵢ = ±c": ll.Relativistic(0.0, c, over="each"),
}
start = jnp.array([2.0, 0.6])
times = np.linspace(0.0, 8.0, 401)
rolled = {}
for name, kinetic in energies.items():
    law = ll.Descent(valley, kinetic, friction)
    rolled[name] = ll.simulate(law, law.initial_state(0.0, start), times, solver=ll.KickDrift(symmetric=True), dt0=0.02)

fastest = {name: float(np.max(np.abs(path.W_dot))) for name, path in rolled.items()}
for name, speed in fastest.items():
    print(f"{name:30s} fastest coordinate {speed:.3f}")

# %% [markdown]
# The same kinetic energies are Optax transformations of any model; with ½m|v|² a step is SGD with momentum, to rounding.

# %%
h, theta, mass = 0.1, 2.0, 0.5
beta = np.exp(-theta * h)


def trained(transformation, steps=50):
    params = start
    memory = transformation.init(params)
    for _ in range(steps):
        change, memory = transformation.update(jax.grad(valley, 1)(0.0, params, None), memory)
        params = optax.apply_updates(params, change)
    return params


ours = trained(ll.optimizer(kinetic=ll.Quadratic(mass), dissipation=friction, step=h))
theirs = trained(optax.sgd(h * (1 - beta) / (theta * mass), momentum=beta))
print(f"against optax.sgd: {apart(ours, theirs):.1e}")

# %% [markdown]
# ## Friction is an optimiser too
#
# With r = (p + 1)/t and V multiplied by Cp²t^{p−2} a convex loss falls at least as t^{−p}: order 2 is Nesterov's method in
# continuous time. On f = x⁸ the solution x = A t^{−m} is known, m = p/6.

# %%
orders, t0, power, scale = (2.0, 3.0, 4.0), 1.0, 8.0, 0.25
late = np.geomspace(t0, 50.0, 30)
fell = {}
for order in orders:
    m = order / (power - 2)
    A = (m * (order - m) / (scale * order**2 * power)) ** (1 / (power - 2))
    law = ll.Descent(lambda t, W, args: W[0] ** 8, ll.Quadratic(1.0), ll.Bregman(order, scale, t0))
    begin = law.initial_state(t0, jnp.array([A]), jnp.array([-m * A]))
    path = ll.simulate(law, begin, late, rtol=1e-11, atol=1e-13)
    fell[order] = path.W[:, 0] ** 8, float(np.max(np.abs(path.W[:, 0] / (A * late**-m) - 1)))
    print(f"order {order:.0f}: off the closed form by {fell[order][1]:.0e}")

# %%
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 4.3))
left.loglog(springs, soft, "o-", label="springs: max|W − W_hard|")
left.loglog(stiffnesses, coded, "s-", label="predictive coding: force − backpropagation")
left.set(xlabel="κ", title="soft constraints approach hard ones as 1/κ")
left.legend()
grid = np.meshgrid(np.linspace(-0.6, 2.2, 80), np.linspace(-0.7, 0.7, 60))
middle.contour(*grid, valley(0.0, np.stack(grid), None), levels=12, alpha=0.4, cmap="Greys")
for name, path in rolled.items():
    middle.plot(*path.W.T, label=name)
middle.set(xlabel="W₁", ylabel="W₂", title="one valley, four kinetic energies")
middle.legend(fontsize=8)
for order, (values, _) in fell.items():
    right.loglog(late, values, label=f"order {order:.0f}")
right.set(xlabel="t", ylabel="f = x⁸", title="friction (p + 1)/t")
right.legend()
plt.show()

# %% [markdown]
# ## What holds

# %%
assert abs(slope_of_springs + 1) < 0.05, "springs: 1/κ"
assert abs(slope_of_coding + 1) < 0.05, "predictive coding at rest: 1/κ"
assert apart(ours, theirs) < 1e-13, "½m|v|² is SGD with momentum"
assert fastest["½m|v|²"] > 2 * c, "the heavy ball has no limit"
assert max(fastest[name] for name in energies if name != "½m|v|²") <= c * (1 + 1e-12), "the others have"
assert max(error for _, error in fell.values()) < 1e-9, "the closed form"
