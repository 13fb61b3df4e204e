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
# # 6 · Finite speed and costates
#
# So far every neuron answered at once. The last section of the paper gives information a speed $c$: a neuron *moves
# towards* what its inputs ask for,
#
# $$c^{-1}\dot x_i=-x_i+\sigma(w_{ik}x^k) \tag{18}$$
#
# (input neurons: $c^{-1}\dot x_i=-x_i+e_i$). It takes that as a constraint with velocities in it, $G^i:=c^{-1}\dot
# x_i+x_i-\sigma(w_{ik}x^k)=0$ (19), puts multipliers into the action, and arrives, for vanishing masses, at
#
# $$c^{-1}\dot x=-x+\sigma(Wx),\qquad \dot W=-\tfrac1\gamma\,\delta_jG^j_M,\qquad c^{-1}\dot\delta=\delta_jG^j_\xi+V_\xi. \tag{20}$$
#
# The claims under test:
#
# | | claim | what we shall find |
# |---|---|---|
# | A | the Euler equations of (19), in $\lambda$ and in $\delta=e^{-\vartheta t}\lambda$ | right in $\lambda$; **in $\delta$ a term $c^{-1}\vartheta\delta$ is lost** ([erratum 2](../docs/errata.md#erratum-2)) |
# | B | "the rule of the Lagrange multipliers" for a non-holonomic constraint | it is the *vakonomic* rule. Mechanics uses d'Alembert's, and under that **nothing is learned** ([remark 11](../docs/errata.md#remark-11)) |
# | C | (20) is "the correct updating rule instead of an instantaneous equation" | **unstable forward in time** ([erratum 3](../docs/errata.md#erratum-3)): $\delta$ grows as $e^{ct}$ |
# | D | "as $c\to\infty$, (20) reproduces backpropagation" | true if read as a boundary-value problem, or with the sign of $\dot\delta$ flipped |
# | E | all this on any graph, cycles included | yes, with a condition on the spectrum |

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
import sympy as sp
from scipy.integrate import solve_bvp, solve_ivp
from sympy.calculus.euler import euler_equations

import lagrangian_learning as ll

jax.config.update("jax_enable_x64", True)
ll.plot.use_style()
BLUE, RED, GREY, GREEN = map(ll.plot.colour, ("weights", "multipliers", "muted", "neurons"))

# %% [markdown]
# ## A · The lost term
#
# One neuron is enough. Let $x$ have an input $e(t)$ with weight $w$ and a loop with weight $u$, and let SymPy write
# down the Euler equations of the paper's
#
# $$A^*=\int e^{\vartheta t}\Big(\tfrac12m_x\dot x^2+\tfrac12m_W(\dot w^2+\dot u^2)-V(x)\Big)-\lambda\,\Big(c^{-1}\dot x+x-\sigma(we+ux)\Big)\,dt .$$
#
# Then put $\lambda=e^{\vartheta t}\delta$, as the paper does, and divide by $e^{\vartheta t}$.

# %%
t, c, theta, m_x, m_W = sp.symbols("t c vartheta m_x m_W", positive=True)
x, w, u, lam, delta, e = (sp.Function(name)(t) for name in ("x", "w", "u", "lambda", "delta", "e"))
V, sigma = sp.Function("V"), sp.Function("sigma")
G = x.diff(t) / c + x - sigma(w * e + u * x)
kinetic = m_x * x.diff(t) ** 2 / 2 + m_W * (w.diff(t) ** 2 + u.diff(t) ** 2) / 2
functional = sp.exp(theta * t) * (kinetic - V(x)) - lam * G

of_x = euler_equations(functional, [x], t)[0].lhs
in_delta = sp.expand(sp.simplify(of_x.subs(lam, sp.exp(theta * t) * delta).doit() * sp.exp(-theta * t)))
in_delta

# %%
G_xi = sp.diff(G.subs(x.diff(t), 0), x)
printed = -m_x * x.diff(t, 2) - m_x * theta * x.diff(t) + delta.diff(t) / c - delta * G_xi - V(x).diff(x)
lost = sp.simplify(in_delta - printed.doit())
is_theta_delta_over_c = sp.simplify(lost - theta * delta / c) == 0
lost

# %% [markdown]
# That is the erratum: $c^{-1}\dot\lambda=e^{\vartheta t}\,c^{-1}(\dot\delta+\vartheta\delta)$, and the second part is
# missing before (20) and in (20). With all masses finite, and written as a system to be integrated, the correct form
# is
#
# $$\dot x=c\,(\sigma(Wx)-x),\qquad
# \ddot W=-\vartheta\dot W+\tfrac1{m_W}\sigma'(a_i)\,\delta_i\,x_j,\qquad
# \dot\delta=c\,\big[m_x(\ddot x+\vartheta\dot x)+G_\xi^{\mathsf T}\delta+V_\xi\big]-\vartheta\delta .$$
#
# (The weights' equation in (20), $\dot W=-\frac1\gamma\delta_jG^j_M=+\frac1\gamma\sigma'\delta_ix_j$, has the right
# sign. It is (15) that has not; notebook 5.)
#
# The second way: the library derives its equations from the action by automatic differentiation, on **any** network.
# Take six neurons with three cycles (a self-loop, a loop of two, a loop of three), all constants finite, arbitrary
# $x,W,\dot W,\delta$. Against it stands the system above in NumPy, once with $-\vartheta\delta$ and once as printed.

# %%
EDGES = [(0, 3), (1, 2), (2, 3), (3, 4), (2, 5), (4, 5), (5, 2), (4, 4)]  # neurons 0 and 1 are inputs, 5 the output
SOURCE, TARGET = np.array(EDGES).T
MASS_X, MASS_W, THETA, SPEED, GOAL = 0.3, 0.7, 5.0, 2.0, 0.3
RATE, PHASE = np.array([1.0, 2.0]), np.array([0.1, 0.7])


def by_hand(t, y, lost_term=1.0):
    """Ẋ of y = (x, W, Ẇ, δ) on the graph above, tanh neurons, input sin(RATE t + PHASE), target GOAL."""
    x, W, W_dot, delta = np.split(y, [6, 14, 22])
    matrix, slope = np.zeros((6, 6)), np.zeros(6)
    matrix[TARGET, SOURCE] = W
    a = matrix @ x
    rest = np.tanh(a)
    rest[:2] = np.sin(RATE * t + PHASE)
    slope[2:] = 1 - np.tanh(a[2:]) ** 2
    x_dot = SPEED * (rest - x)
    moving = slope * (matrix @ x_dot + np.bincount(TARGET, W_dot * x[SOURCE], 6))
    moving[:2] = RATE * np.cos(RATE * t + PHASE)
    x_ddot = SPEED * (moving - x_dot)
    W_ddot = -THETA * W_dot + (slope * delta)[TARGET] * x[SOURCE] / MASS_W
    pull = delta - matrix.T @ (slope * delta)  # G_ξᵀ δ
    pull[5] += x[5] - GOAL  # V_ξ
    delta_dot = SPEED * (MASS_X * (x_ddot + THETA * x_dot) + pull) - lost_term * THETA * delta
    return np.concatenate([x_dot, W_dot, W_ddot, delta_dot])


cyclic = ll.Digraph(6, EDGES, num_inputs=2, num_outputs=1)
stimulus = ll.Stimulus(ll.Sinusoids(jnp.asarray(RATE), 1.0, jnp.asarray(PHASE)), jnp.array([GOAL]))
action = ll.CognitiveAction(
    cyclic, mass_x=MASS_X, mass_W=MASS_W, dissipation=ll.ExponentialDissipation(THETA), speed=SPEED
)
law = action.law()  # derived from (19), not written out

keys = jax.random.split(jax.random.key(0), 4)
x0, delta0 = jax.random.normal(keys[0], (6,)), jax.random.normal(keys[1], (6,))
start = law.initial_state(0.0, cyclic.init(keys[2]), 0.3 * cyclic.init(keys[3]), stimulus, x=x0, multipliers=delta0)
flat = np.concatenate([start.q[0], start.q[1], start.v[1], start.multipliers])
change = eqx.filter_jit(law.vector_field)(0.0, start, stimulus)
derived = np.concatenate([change.q[0], change.q[1], change.v[1], change.multipliers])
at_an_instant = np.abs(derived - by_hand(0.0, flat)).max()
as_printed = np.abs(derived - by_hand(0.0, flat, lost_term=0.0)).max()
print(f"derived against by hand, with −ϑδ: {at_an_instant:.1e};  as printed: off by {as_printed:.2f}")

# %% [markdown]
# And along a run (at $\vartheta>c$, where this is a stable initial-value problem, see C), the library's integrator
# against SciPy's:

# %%
ts = jnp.linspace(0.0, 2.0, 41)
path = ll.simulate(law, start, ts, stimulus, rtol=1e-11, atol=1e-12)
hand = solve_ivp(by_hand, (0, 2), flat, "DOP853", np.asarray(ts), rtol=1e-12, atol=1e-13).y.T
ours = np.concatenate([path.x, path.W, path.W_dot, path.multipliers], axis=1)
along_a_run = np.abs(ours - hand).max()
print(path, f"\n\nagainst SciPy on the equations by hand: {along_a_run:.1e}")

# %% [markdown]
# ## B · Which rule? Under d'Alembert's nothing is learned
#
# (19) contains $\dot x$ and is no time derivative of a function of $(t,x,W)$. For such constraints "the rule of the
# multipliers" is a choice (notebook 8 shows how different the motions of a knife edge are). With the multipliers *in
# the action*, as in the paper, the reaction is $-G_q^{\mathsf T}\delta+(D+\vartheta)(G_{\dot q}^{\mathsf T}\delta)$,
# whose part on the weights is $-G_W^{\mathsf T}\delta=\sigma'\delta x$. With d'Alembert's rule, which is how wheels
# and blades obey, it is $-G_{\dot q}^{\mathsf T}\delta$. But $G$ contains no $\dot W$. So its part on the weights is
# zero, and what is left is
#
# $$\ddot W=-\vartheta\dot W:\qquad\text{the weights coast to a stop, whatever the target says.}$$

# %%
vakonomic = law
dalembert = ll.EulerLagrange(action.lagrangian, ll.DAlembert(vakonomic.constraint.fn))
elsewhere = ll.Stimulus(stimulus.input, jnp.array([-0.9]))  # another target


@jax.jit
def accelerations():
    """Ẅ at the same instant: d'Alembert's rule for two targets, and the vakonomic rule."""
    here = ll.State(start.q, start.v)
    coasting = [dalembert.accelerations(0.0, here, shown)[0][1] for shown in (stimulus, elsewhere)]
    return *coasting, vakonomic.accelerations(0.0, start, stimulus)[0][1]


coasting, coasting_elsewhere, taught = accelerations()
drag = -THETA * np.asarray(start.v[1])
ignorance = max(np.abs(coasting - drag).max(), np.abs(coasting_elsewhere - drag).max())
lesson = np.abs(taught - drag).max()
print(f"d'Alembert: |Ẅ + ϑẆ| = {ignorance:.1e} for two different targets;  vakonomic: |Ẅ + ϑẆ| = {lesson:.2f}")

# %% [markdown]
# ## C · (20) forward in time
#
# Let the masses vanish: $\gamma\dot W=\sigma'\delta x$ and $\dot\delta=c\,(T\delta+V_\xi)-\vartheta\delta$ with
# $T=G_\xi^{\mathsf T}$ (as printed: $\vartheta=0$). On a feedforward network $T$ is *unit triangular*: all its
# eigenvalues are 1. Hence those of the equation for $\delta$ are all $c-\vartheta$, and as printed $+c$. Backprop's
# $\delta=-T^{-1}V_\xi$ is a rest point of (20), but a **repelling** one: every deviation grows as $e^{ct}$, the
# faster the larger $c$. Measured on the paper's XOR network (2, 2, 1) at $c=10$, with (20) as printed in NumPy,
# started *exactly* at backprop's $\delta$:

# %%
CUTS = np.cumsum([2, 2, 1, 4, 2, 2, 2])  # x₀, x₁, x₂, W₁, W₂, δ₀, δ₁, δ₂
FREQUENCY, SHIFT, WANTED, FRICTION = np.array([1.0, 1.7]), np.array([0.2, 0.9]), 0.5, 1.0


def diffusion(t, y, speed, theta, sign):
    """(20) for tanh layers (2, 2, 1) in NumPy: δ̇ = sign · c (Tδ + V_ξ) − ϑδ."""
    x0, x1, x2, W1, W2, d0, d1, d2 = np.split(y, CUTS)
    W1, W2 = W1.reshape(2, 2), W2.reshape(1, 2)
    z1, z2 = np.tanh(W1 @ x0), np.tanh(W2 @ x1)
    p1, p2 = (1 - z1**2) * d1, (1 - z2**2) * d2
    x_dot = speed * np.concatenate([np.sin(FREQUENCY * t + SHIFT) - x0, z1 - x1, z2 - x2])
    W_dot = np.concatenate([np.outer(p1, x0), np.outer(p2, x1)], axis=None) / FRICTION
    pull = np.concatenate([d0 - W1.T @ p1, d1 - W2.T @ p2, d2 + x2 - WANTED])
    return np.concatenate([x_dot, W_dot, sign * speed * pull - theta * y[-5:]])


def backprop(W1, W2, t):
    """The delta errors at time t, layer by layer, and the neurons, by hand."""
    x0 = np.sin(FREQUENCY * t + SHIFT)
    x1 = np.tanh(W1 @ x0)
    x2 = np.tanh(W2 @ x1)
    d2 = WANTED - x2
    d1 = W2.T @ ((1 - x2**2) * d2)
    return [W1.T @ ((1 - x1**2) * d1), d1, d2], [x0, x1, x2]


network = ll.Layered((2, 2, 1))
W = network.init(jax.random.key(1))
slow = ll.Stimulus(ll.Sinusoids(jnp.asarray(FREQUENCY), 1.0, jnp.asarray(SHIFT)), jnp.array([WANTED]))
deltas, neurons = backprop(*map(np.asarray, W), 0.0)
begin = np.concatenate([np.ravel(part) for part in (*neurons, *W, *deltas)])
when = np.linspace(0.0, 3.0, 61)
run_away = solve_ivp(diffusion, (0, 3), begin, "DOP853", when, rtol=1e-10, atol=1e-12, args=(10.0, 0.0, 1)).y[-5:].T
late = when > 1
rate = np.polyfit(when[late], np.log(np.linalg.norm(run_away, axis=1)[late]), 1)[0]
print(f"|δ| from {np.linalg.norm(run_away[0]):.2f} to {np.linalg.norm(run_away[-1]):.1e} in 3 units of time")
print(f"it grows as exp({rate:.2f} t): c = 10")

# %% [markdown]
# The library refuses such a run before its first step, and says why:

# %%
printed_law = ll.BackpropDiffusion(network, ll.SquaredError(), FRICTION, 10.0, 0.0, costate="forward")
try:
    ll.simulate(printed_law, printed_law.initial_state(0.0, W, args=slow), when, slow)
except ValueError as error:
    refusal = str(error)
print(refusal)

# %% [markdown]
# ## D · Two readings that work, and $c\to\infty$
#
# * **As a boundary-value problem.** That is what the calculus of variations asks for: $x$ and $W$ are given at the
#   start, and where $x(t_1)$ is free the natural condition is $\delta(t_1)=c\,m_x\dot x(t_1)$, which is 0 here.
#   Integrated *backward* from $t_1$, $\delta$ decays at the rate $c-\vartheta$ (for $\vartheta<c$). The wave of
#   errors runs backward in time. `ll.solve_boundary` solves both waves at once by collocation and Newton's method. It
#   needs the whole future of the input: it is no online law.
# * **With the sign flipped**, $\dot\delta=-c\,(T\delta+V_\xi)-\vartheta\delta$: causal, eigenvalues $-c-\vartheta$,
#   same rest point at $\vartheta=0$. It is no Euler–Lagrange equation of (19) any more, it is a *repair*.
#   `ll.BackpropDiffusion` takes it by default.
#
# Both against gradient flow (14), $\gamma\dot W=-\nabla V$, which is backprop at every instant (by hand, SciPy):

# %%
times = jnp.asarray(when[::2])


def gradient_flow(t, w):
    """Ẇ = σ′δx/γ with backprop's δ, by hand."""
    (_, d1, d2), (x0, x1, x2) = backprop(w[:4].reshape(2, 2), w[4:].reshape(1, 2), t)
    return np.concatenate([np.outer((1 - x1**2) * d1, x0), np.outer((1 - x2**2) * d2, x1)], axis=None) / FRICTION


followed = solve_ivp(gradient_flow, (0, 3), begin[5:11], "DOP853", when[::2], rtol=1e-11, atol=1e-12).y.T
reference = followed[:, :4].reshape(-1, 2, 2), followed[:, 4:].reshape(-1, 1, 2)


@jax.jit
def flipped(speed):
    law = ll.BackpropDiffusion(network, ll.SquaredError(), FRICTION, speed, 0.0, costate="sign_flip")
    path = ll.simulate(law, law.initial_state(0.0, W, args=slow), times, slow, rtol=1e-9, atol=1e-10)
    return path.W, path.multipliers


@jax.jit
def boundary(speed):
    law = ll.BackpropDiffusion(network, ll.SquaredError(), FRICTION, speed, 1.0, costate="forward")
    path = ll.solve_boundary(law, W, times, slow, tol=1e-6, intervals=160)
    return path.W, path.multipliers


def gap(weights, upto):
    """The largest difference from gradient flow, up to a time index."""
    return max(float(jnp.abs(a - b)[:upto].max()) for a, b in zip(weights, reference, strict=True))


speeds = np.array([10.0, 100.0, 1000.0])
flips, solutions = ([solve(jnp.asarray(c)) for c in speeds] for solve in (flipped, boundary))
middle = len(times) // 2  # away from the layer at t₁
errors = {
    "sign flip, ϑ = 0": [gap(found[0], None) for found in flips],
    "boundary values, ϑ = 1": [gap(found[0], middle) for found in solutions],
}
slopes = {name: np.polyfit(np.log(speeds), np.log(error), 1)[0] for name, error in errors.items()}
for name, error in errors.items():
    shown = "  ".join(f"{value:.5f}" for value in error)
    print(f"{name:<24} distance to gradient flow at c = 10, 100, 1000: {shown}   slope {slopes[name]:.3f}")

# %% [markdown]
# Second way: both problems again by SciPy, on the equations by hand. For the boundary values that is its own
# collocation, `solve_bvp`.

# %%
DAMPED, CAUSAL = (10.0, 1.0, 1), (10.0, 0.0, -1)  # c, ϑ, sign


def columns(t, Y):
    return np.stack([diffusion(s, y, *DAMPED) for s, y in zip(t, Y.T, strict=True)], axis=1)


def both_ends(first, last):
    return np.concatenate([first[:-5] - begin[:-5], last[-5:]])  # x(0) and W(0) are given, δ(t₁) = 0


mesh = np.linspace(0.0, 3.0, 41)
guess = np.repeat(begin[:, None], mesh.size, axis=1)
collocated = solve_bvp(columns, both_ends, mesh, guess, tol=1e-6, max_nodes=2000).sol(np.asarray(times))[-5:].T
integrated = (
    solve_ivp(diffusion, (0, 3), begin, "DOP853", np.asarray(times), rtol=1e-10, atol=1e-11, args=CAUSAL).y[-5:].T
)
agree_boundary = np.abs(collocated - np.concatenate(solutions[0][1], axis=1)).max()
agree_flip = np.abs(integrated - np.concatenate(flips[0][1], axis=1)).max()
print(f"library against SciPy at c = 10: boundary values {agree_boundary:.1e}, sign flip {agree_flip:.1e}")

# %%
by_backprop = np.array(
    [backprop(w1, w2, t)[0][1][0] for w1, w2, t in zip(*map(np.asarray, reference), times, strict=True)]
)
figure, (left, middle_panel, right) = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
left.semilogy(when, np.linalg.norm(run_away, axis=1), color=RED, lw=2, label="(20) as printed")
left.semilogy(times, np.linalg.norm(integrated, axis=1), color=BLUE, lw=2, label="sign flipped")
left.semilogy(times[:-1], np.linalg.norm(collocated, axis=1)[:-1], color=GREEN, lw=2, ls="--", label="boundary values")
left.set(xlabel="time", title="|δ|, $c=10$")
left.legend(frameon=False, fontsize=9)
middle_panel.plot(times, by_backprop, color="k", lw=4, alpha=0.25, label="backprop")
for found, colour, name in ((flips, BLUE, "sign flipped"), (solutions, GREEN, "boundary values")):
    middle_panel.plot(times, found[0][1][1][:, 0], color=colour, lw=1.5, label=f"{name}, $c=10$")
    middle_panel.plot(times, found[1][1][1][:, 0], color=colour, lw=1, ls=":", label="$c=100$")
middle_panel.set(xlabel="time", title="δ of a hidden neuron")
middle_panel.legend(frameon=False, fontsize=8)
for (name, error), colour in zip(errors.items(), (BLUE, GREEN), strict=True):
    right.loglog(speeds, error, "o-", color=colour, label=f"{name}: slope {slopes[name]:.2f}")
right.set(xlabel="speed $c$", title="weights' distance to gradient flow")
right.legend(frameon=False, fontsize=8)
plt.show()

# %% [markdown]
# Left: the printed equation leaves its rest point although it starts on it, because rounding and the motion of the
# input push it off. Middle: the causal wave comes late by about $1/c$ a layer, the boundary-value wave comes *early*,
# it knows the future, and ends in a layer of width $1/(c-\vartheta)$ at $t_1$. Right: both become gradient flow as
# $1/c$. **So "as $c\to\infty$ (20) reproduces backpropagation" holds**, in either reading, and in neither is it the
# initial-value problem that the text suggests.
#
# ### What remains of $\vartheta$
#
# The paper takes $\vartheta\to\infty$ at fixed $c$. With the lost term back, look at the rest point, $x$ and $W$
# frozen. On a layered network with its loss on layer $L$ the layers decouple, and
#
# $$0=s\,c\,(T\delta+V_\xi)-\vartheta\delta\quad\Rightarrow\quad \delta_l=\big(1-s\,\vartheta/c\big)^{-(L-l+1)}\;\delta_l^{\text{backprop}},\qquad s=\pm1 .$$
#
# So $\vartheta\to\infty$ at fixed $c$ does not give backprop but $\delta\to0$: nothing is learned. Backprop needs
# $\vartheta/c\to0$; and the reduction to (14) needs $\vartheta$ large beside the signal. Together:
# $c\gg\vartheta\gg1/\text{(time scale of the signal)}$.
#
# There is a curious third rule. For $\vartheta>c$ the equation *as derived* is stable and causal, with gains that
# alternate in sign from layer to layer. At $\vartheta=2c$ they are $\pm1$. Dividing them out ("parity") gives
# backprop.
#
# Here is the atlas of all rules over $\vartheta/c$, in NumPy: eigenvalues of the assembled matrix, rest points by
# dense solves, and how well the force on the weights follows the gradient while the input moves slowly. The library's
# own atlas is `lagrangian-learning study stability_atlas`; its formulas, `law.growth_rate` and
# `ll.laws.layer_gains`, are compared below.

# %%
SIZES, C = (3, 4, 4, 2), 40.0
deep = ll.Layered(SIZES)
W_deep = deep.init(jax.random.key(0))
matrices = [np.asarray(w) for w in W_deep]
ratios = np.linspace(0.0, 3.0, 61)
offset = np.cumsum((0, *SIZES))
LAYERS = [slice(offset[l], offset[l + 1]) for l in range(4)]
wanted = np.array([0.4, -0.3])


def slow_input(t):
    return np.sin(np.array([0.5, 0.8, 1.1]) * t + np.array([0.2, 1.0, 2.0]))


def settle(u):
    x = [u]
    for w in matrices:
        x.append(np.tanh(w @ x[-1]))
    return np.concatenate(x)


def layers_of(x):
    """σ(Wx), T and V_ξ at neurons x."""
    rest, T, V_xi = np.zeros(13), np.eye(13), np.zeros(13)
    for l, w in enumerate(matrices):
        value = np.tanh(w @ x[LAYERS[l]])
        rest[LAYERS[l + 1]] = value
        T[LAYERS[l], LAYERS[l + 1]] = -(w.T * (1 - value**2))
    V_xi[LAYERS[-1]] = x[LAYERS[-1]] - wanted
    return rest, T, V_xi


def descent(x, delta):
    """σ′(a_i) δ_i x_j, a matrix a layer; delta [..., 13]."""
    slopes = [1 - np.tanh(w @ x[LAYERS[l]]) ** 2 for l, w in enumerate(matrices)]
    return [
        np.einsum("...i,j->...ij", slope * delta[..., LAYERS[l + 1]], x[LAYERS[l]]) for l, slope in enumerate(slopes)
    ]


x_still = settle(slow_input(0.3))
_, T, V_xi = layers_of(x_still)
by_bp = np.linalg.solve(T, -V_xi)
growth, gains, cosines = {}, {}, {}
for sign in (1, -1):
    assembled = [sign * T - ratio * np.eye(13) for ratio in ratios]
    growth[sign] = np.array([np.linalg.eigvals(matrix).real.max() for matrix in assembled])
    at_rest = [np.linalg.lstsq(matrix, -sign * V_xi)[0] for matrix in assembled]
    gains[sign] = np.array([[d[part] @ by_bp[part] / (by_bp[part] @ by_bp[part]) for part in LAYERS] for d in at_rest])

sign = np.array([1.0, -1.0])[:, None, None]  # both rules and all ratios in one run of RK4, weights frozen


def moving(t, x, delta):
    rest, T, V_xi = layers_of(x)
    rest[:3] = slow_input(t)
    return C * (rest - x), C * (sign * (delta @ T.T + V_xi) - ratios[:, None] * delta)


x, delta, h = settle(slow_input(0.0)), np.zeros((2, ratios.size, 13)), 2e-3
with np.errstate(over="ignore", invalid="ignore"):
    for k in range(1000):
        k1 = moving(k * h, x, delta)
        k2 = moving((k + 0.5) * h, x + h / 2 * k1[0], delta + h / 2 * k1[1])
        k3 = moving((k + 0.5) * h, x + h / 2 * k2[0], delta + h / 2 * k2[1])
        k4 = moving((k + 1) * h, x + h * k3[0], delta + h * k3[1])
        x, delta = (
            v + h / 6 * (a + 2 * b + 2 * c + d) for v, a, b, c, d in zip((x, delta), k1, k2, k3, k4, strict=True)
        )
    x_now = settle(slow_input(2.0))
    _, T, V_xi = layers_of(x_now)
    truth = descent(x_now, np.linalg.solve(T, -V_xi))
    likeness = [
        np.einsum("...ij,ij->...", force, true) / np.linalg.norm(force, axis=(-2, -1)) / np.linalg.norm(true)
        for force, true in zip(descent(x, delta), truth, strict=True)
    ]
cosines = np.where(np.array([growth[1], growth[-1]])[:, :, None] < 0, np.stack(likeness, axis=-1), np.nan)

# %%
figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
rules = ((1, RED, "as derived"), (-1, BLUE, "sign flipped"))
for rule, colour, name in rules:
    axes[0].plot(ratios, growth[rule], color=colour, label=name)
    gain = np.where(np.abs(ratios - rule)[:, None] > 0.04, gains[rule], np.nan)  # a pole at ϑ = c
    for layer, style in ((3, "-"), (2, "--"), (1, ":")):
        axes[1].plot(ratios, gain[:, layer], style, color=colour, lw=1.5)
    for layer, style in ((2, "-"), (1, "--"), (0, ":")):
        axes[2].plot(ratios, cosines[(1 - rule) // 2, :, layer], style, color=colour, lw=1.5)
for ax, title in zip(
    axes, ("growth rate of δ, over $c$", "δ at rest, over backprop's", "cosine with the gradient"), strict=True
):
    ax.axvspan(0, 1, color=RED, alpha=0.08, lw=0)
    ax.set(xlabel="ϑ / c", title=title)
axes[0].axhline(0, color="k", lw=0.6)
axes[0].legend(frameon=False)
axes[1].set_ylim(-4, 4)
axes[1].axhline(1, color="k", lw=0.6, ls=":")
axes[1].plot([], [], "k-", label="output layer")
axes[1].plot([], [], "k--", label="one below")
axes[1].plot([], [], "k:", label="two below")
axes[1].legend(frameon=False, fontsize=8, loc="lower right")
figure.suptitle(
    "shaded: as derived, unstable forward in time (a boundary-value problem)", fontsize=9, color=RED, y=-0.03
)
plt.show()

# %% [markdown]
# Left: as derived, unstable below $\vartheta=c$; flipped, always stable. Middle: the gains; at $\vartheta=2c$ the
# derived rule has backprop's sizes with alternating signs. Right: therefore its weights climb in every other layer
# there (cosine −1), and follow the gradient everywhere once the gains are divided out; the flipped rule follows it as
# it is.

# %%
flip_law, forward_law = (
    ll.BackpropDiffusion(deep, ll.SquaredError(), 1.0, C, C * 0.7, costate=rule) for rule in ("sign_flip", "forward")
)
state = flip_law.initial_state(0.0, W_deep, args=ll.Stimulus(jnp.asarray(slow_input(0.3)), jnp.asarray(wanted)))
k = int(np.argmin(np.abs(ratios - 0.7)))
off_growth = max(
    abs(float(law.growth_rate(state)) / C - growth[rule][k]) for law, rule in ((flip_law, -1), (forward_law, 1))
)
sound = np.abs(ratios - 1) > 0.2  # at ϑ = c the rest point of the derived rule does not exist
off_gains = max(
    np.abs(np.stack([ll.laws.layer_gains(name, C, C * r, 3) for r in ratios[sound]]) / gains[rule][sound] - 1).max()
    for rule, name in ((1, "forward"), (-1, "sign_flip"))
)
vanishing = float(ll.laws.layer_gains("forward", C, 1e3 * C, 3)[1])
print(f"growth rates by formula and by eigenvalues: {off_growth:.0e} apart;  gains: {off_gains:.0e}")
print(f"ϑ = 1000 c, two layers below the output: δ at rest is {vanishing:.0e} of backprop's")

# %% [markdown]
# ## E · Cycles
#
# (18)–(20) nowhere ask for a feedforward graph. On a cycle $x$ has to settle and $\delta$ has to settle. If they do,
# with $W$ frozen, what is the force on the weights? At rest $x=\sigma(Wx)$ and $T\delta=-V_\xi$, and $\sigma'\delta
# x$ is then the gradient of $V$ through the *fixed point*, which is what recurrent backpropagation (Almeida, Pineda)
# computes by solving this linear system. Here two waves do it by themselves, each neuron hearing its neighbours only.
#
# The waves of the library run on the six neurons from above; by hand, the gradient is a complex-step derivative of a
# fixed-point iteration.

# %%
STILL = np.array([0.6, -0.9])


@eqx.filter_jit
def diffuse(law, W, ts, stimulus):
    start = law.initial_state(0.0, W, args=stimulus)
    return ll.simulate(law, start, ts, stimulus, rtol=1e-9, atol=1e-11)


def sinusoids(rate, phase, goal_rate, goal_phase):
    """sin(rate t + phase) as input, ½ sin(…) as target; those of rate 0 stand still."""
    target = ll.Sinusoids(jnp.array([goal_rate]), 0.5, jnp.array([goal_phase]))
    return ll.Stimulus(ll.Sinusoids(jnp.asarray(rate), 1.0, jnp.asarray(phase)), target)


still = sinusoids(np.zeros(2), np.arcsin(STILL), 0.0, np.arcsin(2 * GOAL))
W_cyclic = 0.8 * cyclic.init(jax.random.key(5))
frozen = ll.BackpropDiffusion(cyclic, ll.SquaredError(), 1e14, 4.0)  # so much friction that W stands still
waves = diffuse(frozen, W_cyclic, jnp.linspace(0.0, 20.0, 81), still)
force = 1e14 * np.asarray(waves.W_dot[-1])


def loss_of_fixed_point(W):
    matrix, x = np.zeros((6, 6), W.dtype), np.zeros(6, W.dtype)
    matrix[TARGET, SOURCE] = W
    for _ in range(200):
        x = np.tanh(matrix @ x)
        x[:2] = STILL
    return (x[5] - GOAL) ** 2 / 2


gradient = np.array([np.imag(loss_of_fixed_point(np.asarray(W_cyclic) + 1e-30j * row)) / 1e-30 for row in np.eye(8)])
off_cycles = np.abs(force + gradient).max() / np.abs(gradient).max()
print(f"force of the settled waves against −∇V through the fixed point: {off_cycles:.1e}")

# %% [markdown]
# Now let the weights go, with the input moving. The target is half the first input, 1 unit of time later, about what
# three edges take at $c=4$. (With a target that is due earlier, or other frictions, this small network learns less
# well or not at all: six neurons are few.)
#
# And when is a graph allowed? The flipped $\dot\delta=-c\,T\delta-\dots$ has the spectrum of $-cT-\vartheta$, and the
# neurons themselves, $\dot x=-c\,G$, that of $-c\,G_\xi=-c\,T^{\mathsf T}$. **The same**, up to $\vartheta$. So the
# flipped backward wave is stable wherever the forward wave is; as printed it is *unstable* wherever the forward wave
# is stable. We let the loops of the network grow and compare eigenvalues in NumPy with `law.growth_rate`.

# %%
learner = ll.BackpropDiffusion(cyclic, ll.SquaredError(), 1.0, 4.0)
moving_input = sinusoids(RATE, PHASE, RATE[0], PHASE[0] - 1.0)
learning = diffuse(learner, W_cyclic, np.linspace(0.0, 240.0, 81 * 12 + 1), moving_input)
target = 0.5 * np.sin(RATE[0] * learning.ts + PHASE[0] - 1.0)
loss = (learning.x[:, 5] - target) ** 2 / 2
fall = float(loss[-243:].mean() / loss[:243].mean())

scales = np.linspace(0.0, 6.0, 13)
spectra, shown = [], []
for scale in scales:
    big = scale * np.abs(np.asarray(W_cyclic))
    at_zero = ll.State(
        (jnp.zeros(6), jnp.asarray(big)), None, multipliers=jnp.zeros(6)
    )  # σ′ = 1: the loops at their strongest
    matrix = np.zeros((6, 6))
    matrix[TARGET, SOURCE] = big
    eigenvalues = np.linalg.eigvals(np.eye(6) - matrix).real
    spectra.append((4 * eigenvalues.max(), -4 * eigenvalues.min()))
    laws = (
        ll.BackpropDiffusion(cyclic, ll.SquaredError(), 1.0, 4.0, costate=rule) for rule in ("forward", "sign_flip")
    )
    shown.append([float(law.growth_rate(at_zero)) for law in laws])
spectra = np.array(spectra)
off_spectra = np.abs(spectra - np.array(shown)).max()
critical = np.interp(0.0, spectra[:, 1], scales)
print(f"loss in the last quarter of the run over that in the first: {fall:.3f}")
print(
    f"growth rates by eigenvalues and by the library: {off_spectra:.0e} apart; loops grow too strong at {critical:.2f} × |W|"
)

# %%
figure, (early, late_panel, right) = plt.subplots(
    1, 3, figsize=(11, 3.2), layout="constrained", width_ratios=(1, 1, 1.3)
)
for ax, part, title in (
    (early, slice(0, 122), "on a graph with cycles: first"),
    (late_panel, slice(851, 973), "… and last"),
):
    ax.plot(learning.ts[part], target[part], color=RED, lw=4, alpha=0.35, label="target")
    ax.plot(learning.ts[part], learning.x[part, 5], color=BLUE, lw=1.3, label="output neuron")
    ax.set(xlabel="time", title=title, ylim=(-0.7, 0.85))
early.legend(frameon=False, loc="upper right", ncols=2, fontsize=8)
right.plot(scales, spectra[:, 0], color=RED, label="δ as printed")
right.plot(scales, spectra[:, 1], color=BLUE, label="δ sign flipped, and the neurons")
right.axhline(0, color="k", lw=0.6)
right.axvline(critical, color=GREY, lw=0.8, ls=":")
right.set(xlabel="strength of the loops", title="growth rates at $x=0$, $c=4$")
right.legend(frameon=False, fontsize=8)
plt.show()

# %% [markdown]
# ## The verdict
#
# | as printed | what holds |
# |---|---|
# | $c^{-1}\dot\delta=\delta_jG^j_\xi+V_\xi$ (20) | $c^{-1}(\dot\delta+\vartheta\delta)=\delta_jG^j_\xi+V_\xi$ |
# | "rule of the Lagrange multipliers" | the vakonomic rule; d'Alembert's teaches nothing |
# | a differential equation that "gives us the correct updating rule" | forward in time it explodes at the rate $c$: solve it as a boundary-value problem, or flip the sign of $\dot\delta$ |
# | $\vartheta\to\infty$, then $c\to\infty$ | $c\gg\vartheta\gg1/\text{time scale}$; at fixed $c$, $\vartheta\to\infty$ gives $\delta\to0$ |
# | any graph | any graph on which the neurons settle; there the flipped waves are recurrent backpropagation |
#
# The library's own list of checks says the same of random networks and seeds:

# %%
verdicts = ll.verify.run(
    ["neuron-delay", "euler-equations-of-19", "missing-term", "multiplier-rule", "stationary-costate", "locality"]
)
verdicts

# %%
assert is_theta_delta_over_c  # erratum 2, symbolically
assert max(at_an_instant, along_a_run) < 1e-9
assert as_printed > 0.1
assert ignorance < 1e-12  # d'Alembert: the target does not matter
assert lesson > 0.1  # vakonomic: it does
assert abs(rate - 10) < 0.2  # erratum 3: as printed, δ grows as exp(ct)
assert "grows exponentially forward in time" in refusal
assert all(abs(slope + 1) < 0.1 for slope in slopes.values())  # c → ∞ is backprop in both readings
assert max(agree_boundary, agree_flip) < 1e-5
assert max(off_growth, off_gains) < 1e-6
assert vanishing < 1e-8  # ϑ → ∞ at fixed c teaches nothing
assert np.nanmin(cosines[1]) > 0.98
twice = int(np.argmin(np.abs(ratios - 2)))
assert np.allclose(cosines[0, twice], [-1, 1, -1], atol=0.05)
assert off_cycles < 1e-6
assert fall < 0.2
assert off_spectra < 1e-6
assert verdicts.as_documented
