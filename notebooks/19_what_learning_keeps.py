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
# # 19 · What learning keeps
#
# **What the user wants.** Networks have symmetries: hidden units can be rotated, adjacent layers rescaled, all outputs of a
# softmax shifted, and the loss does not see it. Under gradient flow each symmetry keeps a quantity for ever. What is kept by
# weights that have mass, on neurons that have mass, with friction? Noether's theorem with friction says it
# ([theory](../docs/theory.md), section 12): a charge Q = p·g of the displacement g moves as
#
# $$\dot Q = -rQ + \text{what the kinetic energy, the potential and the constraints leave}.$$
#
# `ll.charge` derives it for any law, and `ll.simulate` keeps it along the run with its balance.
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

import lagrangian_learning as ll

jax.config.update("jax_enable_x64", True)
ll.plot.use_style()

# %% [markdown]
# ## One network, three laws, three symmetries
#
# Two linear layers. A rotation of two hidden units and a rescaling of the layers leave the loss alone. With the softmax
# of cross entropy, so does a shift of all outputs. The three laws: weights without mass (gradient flow), weights with mass on
# neurons without (damped descent), and the cognitive action, where neurons have mass too.

# %%
network = ll.Layered((2, 3, 2), activation="identity")
keys = jax.random.split(jax.random.key(4))
W, W_dot = (jax.tree.map(lambda leaf: 0.7 * leaf, network.init(key)) for key in keys)
stimulus = ll.Stimulus(ll.Sinusoids(jnp.array([1.0, 1.7]), 1.0, jnp.array([0.3, 1.1])), jnp.array([0.6, 0.4]))
theta, friction = 0.8, ll.ExponentialDissipation(0.8)
loss = ll.CrossEntropy()
laws = {
    "massless neurons": ll.DampedDescent(network, loss, 0.7, friction),
    "massive neurons": ll.CognitiveAction(network, loss, 0.3, 0.7, friction).law(),
}
symmetries = {"rotation": ll.Rotation(0, 1, 0), "shift of outputs": ll.Translation(), "rescaling": ll.Rescaling(0)}
ts = np.linspace(0.0, 4.0, 81)
kept = {}
for name, law in laws.items():
    charges = {what: ll.charge(law, generator) for what, generator in symmetries.items()}
    start = law.initial_state(0.0, W, W_dot, stimulus)
    path = ll.simulate(law, start, ts, stimulus, rtol=1e-11, atol=1e-13, charges=charges)
    kept[name] = path.charges
    print(name)
    for what, record in path.charges.items():
        faded = record.value[0] * np.exp(-theta * ts)
        away = np.max(np.abs(record.value - faded)) / np.max(np.abs(record.value))
        print(
            f"  {what:18s} off Q(0) e^(−ϑt) by {away:.0e} of it; balance closed to {np.max(np.abs(record.balance)):.0e}"
        )

# %% [markdown]
# A rotation is kept up to friction by both. A shift is kept on massless neurons: neurons with mass resist it, since the
# outputs move. A rescaling is kept by neither: it changes the kinetic energy of the weights. What breaks it is known, term by
# term: of two linear layers Q = m(Ẇ₂·W₂ − Ẇ₁·W₁) up to sign moves by m(|Ẇ₂|² − |Ẇ₁|²).

# %%
law = laws["massless neurons"]
state = law.initial_state(0.0, W, W_dot, stimulus)
parts = ll.charge(law, symmetries["rescaling"])(0.0, state, stimulus).parts
by_hand = 0.7 * (np.sum(W_dot[0] ** 2) - np.sum(W_dot[1] ** 2))
for name, part in parts._asdict().items():
    print(f"{name:12s} {float(part):+.6f}")
print(f"by hand, m(|Ẇ₁|² − |Ẇ₂|²) = {by_hand:.6f}")

# %% [markdown]
# ## Without mass it is kept for ever
#
# Under gradient flow W₂ᵀW₂ − W₁W₁ᵀ does not move: the charge of rescaling is its trace, and nothing decays.

# %%
flow = ll.GradientFlow(network, loss)
path = ll.simulate(flow, flow.initial_state(0.0, W, args=stimulus), ts, stimulus, rtol=1e-11, atol=1e-13)


def difference(W):
    return np.swapaxes(W[1], -1, -2) @ W[1] - W[0] @ np.swapaxes(W[0], -1, -2)


moved = float(np.max(np.abs(difference(path.W) - difference(W)[None])))
print(f"W₂ᵀW₂ − W₁W₁ᵀ moved by {moved:.0e}, the weights by {np.max(np.abs(path.W[1][-1] - W[1])):.2f}")

# %%
figure, axes = plt.subplots(1, 3, figsize=(14, 4), sharex=True)
for ax, what in zip(axes, symmetries, strict=True):
    for name, records in kept.items():
        ax.plot(ts, records[what].value, label=name)
    ax.plot(ts, kept["massless neurons"][what].value[0] * np.exp(-theta * ts), "k:", label="Q(0) e^(−ϑt), massless")
    ax.set(title=what, xlabel="t")
axes[0].set_ylabel("charge Q")
axes[0].legend()
plt.show()

# %% [markdown]
# ## What holds

# %%
away = {
    (name, what): np.max(np.abs(record.value - record.value[0] * np.exp(-theta * ts))) / np.max(np.abs(record.value))
    for name, records in kept.items()
    for what, record in records.items()
}
assert max(away[name, "rotation"] for name in laws) < 1e-9, "a rotation is kept up to friction"
assert away["massless neurons", "shift of outputs"] < 1e-9, "a shift, on massless neurons"
assert away["massive neurons", "shift of outputs"] > 1e-2, "the mass of neurons breaks it"
assert min(away[name, "rescaling"] for name in laws) > 1e-2, "kinetic energy breaks a rescaling"
assert abs(float(parts.kinetic) - by_hand) < 1e-12, "by what the balance says"
assert moved < 1e-9, "without mass it is kept for ever"
assert max(np.max(np.abs(record.balance)) for records in kept.values() for record in records.values()) < 1e-9
