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
# # 7 · Waves
#
# The second section of the paper needs no mechanics. A layer takes one tick of time, and information travels as
# waves. Forward,
#
# $$x_{t+1,l+1}=\sigma(W_l\,x_{t,l}),\qquad x_{t+\kappa,\kappa}=\sigma(W_{\kappa-1}\cdots\sigma(W_0\,u_t)\cdots) \tag{1, 2}$$
#
# and backward, from the error at the output, $\delta_{t+1,l-1}=\sigma'_{l-1}W_{l-1}^{\mathsf T}\delta_{t,l}$. Where
# they meet, they form
#
# $$g_{t,l}=\delta_{t,l}\cdot x_{t,l-1}=\Big(\overset{l-1}{\longrightarrow}u_{t-l+1}\Big)\cdot\Big(\delta_{t-L+l,L}\overset{L-l}{\longleftarrow}\Big). \tag{3}$$
#
# Nothing is stored and nothing is transported: every factor is where it is needed when it is needed. Is $g$ the
# gradient?
#
# | | claim | what we shall find |
# |---|---|---|
# | A | (1)–(3) | hold; only *which frame* each factor carries needs care |
# | B | Figure 1: with constant input, $g$ is backprop's gradient | exactly, after $2L$ ticks and not before |
# | C | Figures 2, 3: slow input well, fast input badly | yes; and the error falls in proportion to the speed |
# | D | at $l_s=(L+1)/2$ "perfect synchronisation": "the gradient is correctly computed" | the synchronisation is real, the conclusion is not ([erratum 4](../docs/errata.md#erratum-4)) |
# | E | a video of $f_v$ frames a second needs $\Delta t=f_v/(L-1)$ | $\Delta t\le 1/(f_v(L-1))$ ([erratum 7](../docs/errata.md#erratum-7)) |

# %%
import sys

if "google.colab" in sys.modules:  # install the package there
    import IPython

    IPython.get_ipython().run_line_magic("pip", 'install --quiet "lagrangian-learning[notebooks]"')

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import lagrangian_learning as ll
from lagrangian_learning.learning.waves import wave_frames
from lagrangian_learning.plot.waves.scenes import Lattice, lattice, scene

jax.config.update("jax_enable_x64", True)
ll.plot.use_style()
plt.rcParams["figure.dpi"] = 70
BLUE, RED, GREY, GREEN = map(ll.plot.colour, ("weights", "multipliers", "muted", "neurons"))

# %% [markdown]
# ## A · The waves, and what they carry
#
# `ll.waves.backprop_waves` runs them. By hand they are a dozen lines of NumPy. A network of ten levels, as in the paper's
# figures ($L=9$), random weights, random frames.

# %%
SIZES = (3, 8, 8, 8, 8, 8, 8, 8, 8, 2)
L = len(SIZES) - 1
network = ll.Layered(SIZES)
W = network.init(jax.random.key(1))
rng = np.random.default_rng(0)
u, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))


def by_hand(W, u, y):
    """(1)–(3), tanh and squared error; lists by level, and by layer 1 … L."""
    T = len(u)
    x = [u] + [np.zeros((T, len(w))) for w in W]
    delta = [None] + [np.zeros((T, len(w))) for w in W]
    for t in range(T):
        delta[L][t] = (1 - x[L][t] ** 2 if t else 1.0) * (x[L][t] - y[t])
        if t + 1 < T:
            for l in range(L):
                x[l + 1][t + 1] = np.tanh(W[l] @ x[l][t])
            for l in range(L, 1, -1):
                delta[l - 1][t + 1] = (1 - x[l - 1][t + 1] ** 2) * (W[l - 1].T @ delta[l][t])
    return x, delta


waves = ll.waves.backprop_waves(network, W, u, y, ll.SquaredError())
x, delta = by_hand([np.asarray(w) for w in W], u, y)
off_waves = max(np.abs(a - b).max() for a, b in zip([*waves.x, *waves.delta], [*x, *delta[1:]], strict=True))
off_gradient = max(
    np.abs(waves.gradient[l - 1] - np.einsum("ti,tj->tij", delta[l], x[l - 1])).max() for l in range(1, L + 1)
)
print(f"waves of the library against the loop by hand: {off_waves:.1e};  g = δx: {off_gradient:.1e}")

# %% [markdown]
# Which frame is where? (2) says that $x_{t,l}$ carries input frame $t-l$. (3) says that $\delta_{t,l}$ carries the
# error that was formed at time $t-L+l$. But an error compares *two* things: the target of that time, and an output,
# which has come from an input $L$ frames **before** it, that is from frame $t-2L+l$. The paper does not follow this
# third wave. `wave_frames` measures it: it wiggles one frame at a time, and looks where the waves react.

# %%
measured = wave_frames(network, W, jnp.asarray(u), jnp.asarray(y), ll.SquaredError())
t, levels, layers = np.arange(40)[:, None], np.arange(L + 1), np.arange(1, L + 1)
formulas = {"input": t - levels, "target": t - L + layers, "cause": t - 2 * L + layers}
wrong_frames = {
    name: int(np.sum(getattr(measured, name) != np.where(frames < 0, -1, frames))) for name, frames in formulas.items()
}
print("places and times at which another frame was found than the formulas say:", wrong_frames)

shown = [("layer of weights l", layers)]
shown.append(("target of the error − input it meets", [ll.waves.target_mismatch(l, L) for l in layers]))
shown.append(("input it meets − input that made it", [ll.waves.causing_input_mismatch(l, L) for l in layers]))
print()
for name, values in shown:
    print(f"{name:<38}" + "".join(f"{value:>5}" for value in values))

# %% [markdown]
# The second line is the paper's synchronisation: zero at $l_s=5$, at most $L-1$. The third is what it leaves out: no
# layer ever meets the input that made its error, and the last layer comes closest.
#
# ## B · Figure 1: an input that stands still
#
# If input and target stand still, all frames are the same and it does not matter which one is carried. Layer $l$
# needs $2L-l+1$ ticks until an error that the input has made arrives; so all layers are exact after $2L$. Held after
# random frames (so that the waves are full of wrong things), against `jax.grad`:

# %%
still, goal = jnp.array([0.3, -0.5, 0.8]), jnp.array([0.2, 0.8])


def loss(W, u, y):
    return jnp.sum((network.output(network.forward(W, u)) - y) ** 2) / 2


true = jax.grad(loss)(W, still, goal)
inputs = jnp.concatenate([u[:20], jnp.tile(still, (2 * L + 4, 1))])
targets = jnp.concatenate([y[:20], jnp.tile(goal, (2 * L + 4, 1))])
held = ll.waves.backprop_waves(network, W, inputs, targets, ll.SquaredError()).gradient
off = np.stack([np.abs(g[20:] - r).max(axis=(1, 2)) / np.abs(r).max() for g, r in zip(held, true, strict=True)], axis=1)
exact_from = 1 + np.argmax(off < 1e-10, axis=0)  # ticks held, the first one counted as 1
print("layer                   " + "".join(f"{l:>5}" for l in layers))
print("exact after … ticks     " + "".join(f"{ticks:>5}" for ticks in exact_from))
print(
    f"after 2L = {2 * L} ticks the largest error is {off[2 * L - 1].max():.0e}, after {2 * L - 1} it is {off[2 * L - 2].max():.0e}"
)

# %%
constant = scene(None)
figure, ax = plt.subplots(figsize=(11, 5.2), layout="constrained")
lattice(ax, constant, Lattice(range(2 * L + 2)))
ax.set_title("Figure 1, from a run: orange climbs, blue descends; green weights have the exact gradient")
plt.show()

# %% [markdown]
# ## C · Figures 2 and 3: slow and fast input
#
# In stationary conditions, every neuron carries two frames: its number on the left says which input, on the right
# which target its error has met. Shades show the value of the input. Slowly moving (a period of 600 frames),
# neighbouring frames have the same shade: that they are different frames hardly matters. Fast (a period of 7), it
# does.

# %%
slow, rapid = scene(600.0), scene(7.0)
figure, axes = plt.subplots(1, 2, figsize=(12.4, 7.6), layout="constrained")
for ax, run, title in zip(axes, (slow, rapid), ("Figure 2: slow", "Figure 3: rapid"), strict=True):
    lattice(ax, run, Lattice(range(2 * L + 1, 3 * L - 2), pitch=1.2, numbers=True))
    ax.set_title(title)
    ax.set_xlabel("left: frame of the input, right: frame of the target,\ncounted from t")
axes[1].set_yticks([])
axes[0].texts[0].set_visible(False)  # the name of the green band, once is enough
plt.show()

# %% [markdown]
# "Very well approximates the gradient for inputs that are not too fast": how well? Let the same curves be played at
# different speeds, and compare $g_{t,l}$ with the gradient of the frame that *made its error*: input $t-2L+l$, target
# $t-L+l$, by `jax.grad`. Mean over networks.

# %%
PERIODS = np.array([4000.0, 2000.0, 1000.0, 300.0, 100.0, 30.0, 7.0])
weights = jax.vmap(network.init)(jax.random.split(jax.random.key(0), 4))


def curves(period, frames=900):
    phase = 2 * jnp.pi * jnp.arange(frames) / period
    u = jnp.sin(phase[:, None] * jnp.array([1.0, 0.77, 1.31]) + jnp.array([0.3, 1.3, 2.3]))
    return u, 0.5 * jnp.cos(phase[:, None] * jnp.array([1.0, 1.19]) + jnp.array([0.0, 1.0]))


@jax.jit
def errors(u, y):
    """Relative error of g_{t,l} against the gradients of two frames: [2, L]."""

    def both(W):
        shown = [ll.waves.wave_fidelity(network, W, u, y, ll.SquaredError(), frame) for frame in ("cause", "target")]
        return jnp.stack([fidelity.relative_error for fidelity in shown])

    return jnp.mean(jax.vmap(both)(weights), axis=0)


by_cause, by_target = np.stack([errors(*curves(period)) for period in PERIODS], axis=1)
print("against the frame that made the error\nperiod  layer" + "".join(f"{l:>8}" for l in layers))
for period, row in zip(PERIODS, by_cause, strict=True):
    print(f"{period:>6.0f}       " + "".join(f"{value:>8.3f}" for value in row))
in_speed = np.polyfit(np.log(PERIODS[:3]), np.log(by_cause[:3].mean(axis=1)), 1)[0]
print(f"\nslow input: the error falls as period^{in_speed:.2f}")

# %% [markdown]
# The second way, for one number of this table, without `wave_fidelity`: waves by the loop above, the true gradients
# by hand in NumPy.

# %%
one = [np.asarray(w[0]) for w in weights]
u_slow, y_slow = (np.asarray(part) for part in curves(100.0))
x, delta = by_hand(one, u_slow, y_slow)


def gradients_by_hand(W, u, y):
    """∂V/∂W of every frame, [frames, n_out, n_in] a layer, by plain backprop."""
    x = [u]
    for w in W:
        x.append(np.tanh(x[-1] @ w.T))
    back = (1 - x[L] ** 2) * (x[L] - y)
    found = [None] * L
    for l in range(L, 0, -1):
        found[l - 1] = np.einsum("ti,tj->tij", back, x[l - 1])
        if l > 1:
            back = (1 - x[l - 1] ** 2) * (back @ W[l - 1])
    return found


same = []
for l in (1, 5, 9):
    when = np.arange(2 * L - 1, 900)
    g = np.einsum("ti,tj->tij", delta[l][when], x[l - 1][when])
    reference = gradients_by_hand(one, u_slow[when - 2 * L + l], y_slow[when - L + l])[l - 1]
    mine = np.linalg.norm(g - reference) / np.linalg.norm(reference)
    its = ll.waves.wave_fidelity(
        network, tuple(map(jnp.asarray, one)), u_slow, y_slow, ll.SquaredError(), "cause"
    ).relative_error
    same.append(abs(mine - float(its[l - 1])))
    print(f"layer {l}, period 100: by hand {mine:.6f}, by the library {float(its[l - 1]):.6f}")

# %% [markdown]
# ## D · The layer of "perfect synchronisation"
#
# At $l_s=(L+1)/2=5$ the input that the wave brings and the target in the error are of one and the same frame. Does
# that make $g$ the gradient there? It depends on what the gradient is *of*:
#
# * of the frame that made the error (what has been wrong is put right): the table above. The error falls towards the
#   **last** layer; $l_s$ is nothing special.
# * of the frame of the target, $\nabla V(f(u_{t-L+l}),y_{t-L+l})$: here $l_s$ has an advantage, and in most runs the
#   least error. But not zero: the error there contains an *output*, and that output was made by an input $L$ frames
#   older.
#
# It is exact at $l_s$ only if the error does not depend on the output, and no slope $\sigma'$ on the state: a linear
# network whose loss is linear in its output, with *arbitrary* random frames.

# %%
linear = ll.Layered((3, 4, 4, 4, 4, 2), "identity")  # L = 5, l_s = 3
exact = ll.waves.wave_fidelity(
    linear,
    linear.init(jax.random.key(2)),
    rng.normal(size=(60, 3)),
    rng.normal(size=(60, 2)),
    lambda x, y: x @ y,
    "target",
).relative_error
print("against the frame of the target\nperiod  layer" + "".join(f"{l:>8}" for l in layers))
for period, row in zip(PERIODS, by_target, strict=True):
    print(f"{period:>6.0f}       " + "".join(f"{value:>8.3f}" for value in row))
print("\nlinear network, loss linear in the output, random frames, layers 1 … 5:")
print("             " + "".join(f"{value:>8.0e}" for value in np.asarray(exact)))

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained", sharey=True)
for ax, table, title in zip(
    axes, (by_cause, by_target), ("the frame that made the error", "the frame of the target"), strict=True
):
    for period, row, shade in zip(PERIODS[2:], table[2:], np.linspace(0.25, 1, 5), strict=True):
        ax.plot(layers, row, "o-", color=plt.cm.Blues(shade), ms=4, label=f"{period:g}")
    ax.axvline(5, color=GREEN, ls=":", lw=1.5)
    ax.set(xlabel="layer of weights (dotted: $l_s$)", title=f"gradient of {title}", ylim=(0, 2), xticks=layers)
axes[0].set_ylabel("relative error of $g$ against it")
axes[1].legend(title="period in frames", frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# ## E · How fast must the network be for a video?
#
# The waves that meet are at most $L-1$ ticks apart. The paper wants the input nearly constant over
# $\tau_s=(L-1)\Delta t$, and prints $\Delta t=\tau_s/(L-1)=f_v/(L-1)$ for a video of $f_v$ frames a second. That
# cannot be: $f_v/(L-1)$ is no time. For $\tau_s$ to fit into one frame, $\tau_s\le1/f_v$, it must be
#
# $$\Delta t\le\frac1{f_v\,(L-1)} .$$
#
# Measured: at 25 frames a second, let each frame of the video stay for $k$ ticks, $\Delta t=1/(25k)$. Frames carry
# their own number through a network of identities, the waves show which numbers meet.

# %%
FRAME_RATE = 25.0
identities, carry = (jnp.eye(1),) * L, ll.Layered((1,) * (L + 1), "identity")


def largest_mismatch(k, shown=40):
    """How many frames of the video are apart, at most, of input and target that meet."""
    numbers = jnp.repeat(jnp.arange(float(shown)), k)[: 20 * (L + 1)]
    # ∂V/∂x = y: the error is the number of the target's frame
    waves = ll.waves.backprop_waves(carry, identities, numbers[:, None], numbers[:, None], lambda x, y: x @ y)
    full = slice(2 * L, None)
    return max(int(jnp.abs(waves.delta[l - 1][full] - waves.x[l - 1][full]).max()) for l in range(1, L + 1))


ticks = np.array([1, 2, 4, 6, 7, 8, 9, 12])
apart = np.array([largest_mismatch(int(k)) for k in ticks])
print("ticks a frame          " + "".join(f"{k:>7}" for k in ticks))
print("Δt in milliseconds     " + "".join(f"{1000 / FRAME_RATE / k:>7.2f}" for k in ticks))
print("frames apart, at most  " + "".join(f"{value:>7}" for value in apart))
bound = ll.waves.largest_time_step(FRAME_RATE, L)
printed = FRAME_RATE / (L - 1)
print(
    f"\nbound 1/(f_v (L − 1)) = {1000 * bound:.0f} ms.  As printed f_v/(L − 1) = {printed:.3f}: taken as seconds a layer,"
)
print(
    f"the waves that meet would be {ll.waves.synchronisation_time(L, printed) * FRAME_RATE:.0f} frames of the video apart"
)

# %% [markdown]
# ## The verdict
#
# * (1)–(3) hold as written. Waves are local in space and time, and nothing has to be transported or stored.
# * With a frame held for $2L$ ticks the gradient is exact in every layer; while the input moves slowly it is
#   approximate, with an error in proportion to the speed. With fast input it is not a gradient of anything.
# * The synchronised layer is synchronised with the *target* only. No reference gradient has an error of zero there,
#   except where the error ignores the output.
# * $\Delta t\le1/(f_v(L-1))$.

# %%
verdicts = ll.verify.run(
    [
        "time-delay-model",
        "forward-wave",
        "gradient-of-the-waves",
        "constant-input",
        "mismatch-of-the-waves",
        "synchronised-gradient",
        "video-bound",
    ]
)
verdicts

# %%
assert max(off_waves, off_gradient) < 1e-13  # (1)–(3)
assert set(wrong_frames.values()) == {0}
assert list(exact_from) == [2 * L - l + 1 for l in layers]  # Figure 1, and not a tick earlier
assert off[2 * L - 1].max() < 1e-10
assert off[2 * L - 2, 0] > 1e-6
assert abs(in_speed + 1) < 0.1  # Figure 2: in proportion to the speed
assert by_cause[-1].min() > 0.3  # Figure 3
assert max(same) < 1e-10
assert np.all(np.diff(by_cause[2]) < 0)  # erratum 4: towards the last layer, l_s is nothing special
assert by_target.argmin(axis=1)[-1] + 1 == 5  # against the target's own frame it is the best,
assert by_target[:, 4].min() > 1e-3  # but not exact
assert exact[2] < 1e-13  # exact where the error ignores the output,
assert np.delete(exact, 2).min() > 0.1  # and there only
assert np.all((apart <= 1) == (1 / (FRAME_RATE * ticks) <= bound * (1 + 1e-12)))  # erratum 7
assert verdicts.as_documented
