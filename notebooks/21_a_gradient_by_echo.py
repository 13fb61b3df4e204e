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
# # 21 · A gradient by echo
#
# **What the user wants.** A physical network has no backpropagation: it can only run. Can the gradient of what it did be had
# from running it again? It can, if its motion follows from an action: run it, turn it back in time with friction as
# anti-friction, and nudge it by the cost on the way. Where it arrives, beside where it came from, is the gradient
# ([theory](../docs/theory.md), section 13). No step is stored, no Jacobian is transposed.
#
# The next cell does something on Colab only: it installs the package under the name that `pyproject.toml` gives it.
# Until a release is on PyPI, install it there from a copy of the repository instead.

# %%
import sys

if "google.colab" in sys.modules:
    import IPython

    IPython.get_ipython().run_line_magic("pip", 'install --quiet "lagrangian-learning[notebooks]"')

# %%
import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import lagrangian_learning as ll

jax.config.update("jax_enable_x64", True)
ll.plot.use_style()

# %% [markdown]
# ## Four masses on springs
#
# The first is pushed, the last should be at 0.3 at the end. By how much does each mass, each stiffness and the friction change
# how far it misses?


# %%
class Springs(eqx.Module):
    masses: jax.Array
    stiffness: jax.Array

    def __call__(self, t, q, v, push):
        stretch = jnp.diff(q, prepend=0.0)
        stored = jnp.sum(self.stiffness * stretch**2) / 2 + jnp.sum(stretch**4) / 4
        return jnp.sum(self.masses * v**2) / 2 - stored + push * jnp.sin(2 * t) * q[0]


def missed(q, push):
    return (q[-1] - 0.3) ** 2 / 2


springs = Springs(jnp.array([1.0, 0.7, 1.2, 0.9]), jnp.array([3.0, 2.0, 4.0, 2.5]))
law = ll.EulerLagrange(ll.Lagrangian(springs, ll.ExponentialDissipation(0.4)))
END, dt0, push = 3.0, 0.01, jnp.array(1.5)
start = law.initial_state(0.0, jnp.array([0.1, -0.2, 0.3, 0.0]), jnp.array([0.0, 0.4, 0.0, -0.3]), push)

# %% [markdown]
# By echo, and by reverse mode through the same 300 steps of `ll.Rattle`. The nudge β leaves an error of β², two nudges of
# β⁴.


# %%
def by_reverse_mode(law):
    path = ll.simulate(law, start, np.array([0.0, END]), push, solver=ll.Rattle(), dt0=dt0, watch="nothing")
    return missed(path.final_state.q, push)


exact = eqx.filter_grad(by_reverse_mode)(law).lagrangian


def off(nudge, extrapolate):
    echo = ll.echo_gradient(
        law, start, np.array([0.0, END]), push, None, terminal=missed, dt0=dt0, nudge=nudge, extrapolate=extrapolate
    )
    found = echo.by_law.lagrangian
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True)
    largest = max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(exact))
    return max(float(jnp.max(jnp.abs(a - b))) for a, b in pairs) / largest, echo


nudges = np.logspace(-2, 0.5, 6)
plain = np.array([off(nudge, False)[0] for nudge in nudges])
twice = np.array([off(nudge, True)[0] for nudge in nudges])
slope = np.polyfit(np.log(nudges[2:]), np.log(plain[2:]), 1)[0]
_, echo = off(1e-2, True)
print("masses       by echo        ", np.asarray(echo.by_law.lagrangian.density.masses))
print("             by reverse mode", np.asarray(exact.density.masses))
print(f"friction     by echo {float(echo.by_law.lagrangian.dissipation.theta):.12f}")
print(f"             exactly {float(exact.dissipation.theta):.12f}")
print(f"error as β^{slope:.2f}; two nudges: {twice.min():.0e}; rounding reported {float(echo.rounding):.0e}")

# %% [markdown]
# ## Memory
#
# Reverse mode keeps the steps, or makes them again from checkpoints. The echo keeps the last state.


# %%
def temporary(function, *arguments):
    return jax.jit(function).lower(*arguments).compile().memory_analysis().temp_size_in_bytes


def stored(state, steps):
    def cost(state):
        ts = np.array([0.0, END])
        path = ll.simulate(
            law, state, ts, push, solver=ll.Rattle(), dt0=END / steps, watch="nothing", adjoint=ll.Replay(segments=1)
        )
        return missed(path.final_state.q, push)

    return jax.grad(lambda q: cost(ll.State(q, state.v)))(state.q)


def echoed(state, steps):
    ts = np.array([0.0, END])
    found = ll.echo_gradient(law, state, ts, push, None, terminal=missed, dt0=END / steps, nudge=1e-2)
    return found.by_start.q


lengths = np.array([300, 1200, 4800])
memory = {
    "reverse mode, all steps kept": [temporary(lambda s, n=n: stored(s, n), start) for n in lengths],
    "echo": [temporary(lambda s, n=n: echoed(s, n), start) for n in lengths],
}
for name, sizes in memory.items():
    print(f"{name:30s}", *(f"{size / 1e3:8.1f} kB" for size in sizes))

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
left.loglog(nudges, plain, "o-", label="one nudge")
left.loglog(nudges, twice, "s-", label="two nudges, extrapolated")
left.set(xlabel="nudge β", title="error against reverse mode")
left.legend()
for name, sizes in memory.items():
    right.loglog(lengths, np.array(sizes) / 1e3, "o-", label=name)
right.set(xlabel="steps", title="memory beside arguments and results, kB")
right.legend()
plt.show()

# %% [markdown]
# ## What holds

# %%
assert abs(slope - 2) < 0.1, "one nudge: β²"
assert twice.min() < 1e-9, "two nudges: to rounding"
assert memory["echo"][-1] < 1.5 * memory["echo"][0], "memory does not grow with the steps"
assert memory["reverse mode, all steps kept"][-1] > 5 * memory["reverse mode, all steps kept"][0]
