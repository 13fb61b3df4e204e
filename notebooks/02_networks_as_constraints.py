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
# # 2 · Networks as constraints, and Proposition 1
#
# Mechanics of constrained systems starts from equations $G(t,q)=0$ that are *independent*: their gradients span as many directions as there are
# equations. Then multipliers exist and are unique. The paper makes every neuron such an equation. With $\xi$ for the neurons' outputs and $M=(m_{jk})$
# for the weights, and neurons $1,\dots,\omega$ being inputs,
#
# $$G^j(\tau,\xi,M)=\begin{cases}\xi_j-e_j(\tau)&1\le j\le\omega\\ \xi_j-\sigma(m_{jk}\xi^k)&\omega<j\le\nu\end{cases} \tag{4}$$
# $$G^j(t,x(t),W(t))=0,\qquad 1\le j\le\nu \tag{6}$$
#
# and claims in **Proposition 1** that the matrix $(G_\xi\;G_M)$ of all derivatives has full rank. This notebook asks
#
# 1. whether the library's constraints are (4), on the paper's own XOR network;
# 2. whether Proposition 1 is true, why, and what it needs;
# 3. what goes wrong where it fails, which can be seen.
#
# A word on orientation: here and in the library $(G_\xi)_{ji}=\partial G^j/\partial\xi_i$, a row for each constraint. The paper's $T$ is its transpose.

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
from scipy.optimize import brentq

import lagrangian_learning as ll
from lagrangian_learning.networks import state_jacobian, weight_jacobian

jax.config.update("jax_enable_x64", True)
ll.plot.use_style()
BLUE, RED, GREY = map(ll.plot.colour, ("weights", "multipliers", "muted"))

# %% [markdown]
# ## 1 · The XOR network, by symbols and by the library
#
# Written out by hand as in the paper: $x_3=\sigma(w_{31}x_1+w_{32}x_2)$, and so on. SymPy forms the constraints and both
# Jacobians; $\sigma$ stays a symbol.


# %%
class Slope(sp.Function):
    """σ′."""

    def _latex(self, printer, exp=None):
        return rf"\sigma'{f'^{exp}' if exp else ''}({printer.doprint(self.args[0])})"


class Sigma(sp.Function):
    """σ, whose derivative is σ′."""

    def fdiff(self, argindex=1):
        return Slope(self.args[0])

    def _latex(self, printer):
        return rf"\sigma({printer.doprint(self.args[0])})"


x1, x2, x3, x4, x5, e1, e2 = sp.symbols("x1:6 e1:3")
w31, w32, w41, w42, w53, w54 = sp.symbols("w31 w32 w41 w42 w53 w54")
neurons, weights = sp.Matrix([x1, x2, x3, x4, x5]), sp.Matrix([w31, w32, w41, w42, w53, w54])
G = sp.Matrix(
    [
        x1 - e1,
        x2 - e2,
        x3 - Sigma(w31 * x1 + w32 * x2),
        x4 - Sigma(w41 * x1 + w42 * x2),
        x5 - Sigma(w53 * x3 + w54 * x4),
    ]
)
G

# %%
G_xi, G_M = G.jacobian(neurons), G.jacobian(weights)
G_xi

# %% [markdown]
# Unit diagonal, zeros above it: that is the whole proof of Proposition 1, and we shall come to it. $G_M$ has one more property that the paper
# does not mention and that makes learning cheap: **each weight appears in one constraint only**, so $G_MG_M^{\mathsf T}$ is diagonal.

# %%
G_M

# %%
sp.simplify(G_M * G_M.T)

# %% [markdown]
# The library has the same network as `ll.networks.xor_network()`. It knows only `forward` and `constraint`; its Jacobians are automatic derivatives. At
# random points, *on no constraint at all*, both must give the same numbers:

# %%
numbers = [{"Sigma": np.tanh, "Slope": lambda a: 1 - np.tanh(a) ** 2}, "numpy"]
by_sympy = sp.lambdify([list(neurons), list(weights), [e1, e2]], [G, G_xi, G_M], numbers)
network = ll.networks.xor_network(activation="tanh")


@jax.jit
def by_library(x, W, e):
    return network.constraint(x, W, e), state_jacobian(network, x, W), weight_jacobian(network, x, W)


rng = np.random.default_rng(0)
points = [rng.normal(size=n) for _ in range(20) for n in (5, 6, 2)]
error_4 = 0.0
for x, W, e in zip(points[::3], points[1::3], points[2::3], strict=True):
    for symbolic, found in zip(by_sympy(x, W, e), by_library(x, W, e), strict=True):
        error_4 = max(error_4, np.abs(np.reshape(symbolic, np.shape(found)) - found).max())
print(f"G, G_ξ and G_M at 20 random points: largest difference {error_4:.1e}")

# %% [markdown]
# The paper's other example is a chain of one input, one hidden and one output neuron, with its $T=G_\xi^{\mathsf T}$ printed under (17).
# Printed and derived are the same:

# %%
w21 = sp.Symbol("w21")
chain = sp.Matrix([x1 - e1, x2 - Sigma(w21 * x1), x3 - Sigma(w32 * x2)])
T = chain.jacobian([x1, x2, x3]).T
T_printed = sp.Matrix([[1, -Slope(w21 * x1) * w21, 0], [0, 1, -Slope(w32 * x2) * w32], [0, 0, 1]])
assert T.equals(T_printed)
T

# %% [markdown]
# ## 2 · Proposition 1
#
# > *The matrix $(G_\xi\;G_M)$ is full rank.*
#
# **Proof.** $\partial G^j/\partial\xi_i=\delta_{ij}-\sigma'(m_{jk}\xi^k)\,m_{ji}$. If $M$ is strictly lower triangular, $m_{ji}=0$ for $i\ge j$, so
#
# $$G^j_{\xi_j}=1,\qquad G^j_{\xi_i}=0\ \text{ for } i>j$$
#
# (the paper prints $G^{i}_{\xi_i}=0$, a slip of an index). $G_\xi$ is triangular with a unit diagonal: $\det G_\xi=1$ whatever $\sigma$, weights and inputs are. So
# its rows are independent, and more columns do not change that. ∎
#
# The hypothesis, that $M$ is triangular, stands in the paper's text and belongs in the statement. It is about numbering: a graph without cycles can always be numbered such
# that edges go from low to high, and renumbering rows and columns alike leaves the determinant alone. **So the proposition holds for every
# acyclic graph, whatever its numbering.** Three graphs, and the signs of the entries of $G_\xi$ (blue +, red −):

# %%
layered = ll.Layered((2, 3, 3, 1))
ordered = [(0, 3), (1, 3), (0, 2), (1, 4), (2, 4), (3, 5), (4, 6), (2, 6), (5, 7), (6, 8), (3, 8), (7, 8)]
shuffle = np.array([0, 1, 7, 4, 6, 2, 3, 5, 8])  # inputs first and outputs last, as the library wants them
shuffled = ll.Digraph(9, [(shuffle[s], shuffle[t]) for s, t in ordered], 2, 1)
cyclic = ll.Digraph(9, [*ordered, (6, 5), (5, 4)], 2, 1)
graphs = {"layered 2–3–3–1": layered, "acyclic, numbered anyhow": shuffled, "with cycles": cyclic}


def jacobians_of(graph):
    """Dense G_ξ and (G_ξ G_M) of a network at (W, x), compiled, for a batch of them."""

    def both(x, W):
        by_x = state_jacobian(graph, x, W)
        return by_x, jnp.concatenate([by_x, weight_jacobian(graph, x, W)], axis=1)

    return jax.jit(jax.vmap(both))


def batch(graph, count, scale=1.0):
    """Random weights, and the neurons that satisfy (6) with them for random inputs (any x would do)."""
    W = jax.vmap(lambda key: jax.tree.map(lambda w: scale * w, graph.init(key)))(
        jax.random.split(jax.random.key(1), count)
    )
    x = jax.vmap(graph.forward)(W, jax.random.normal(jax.random.key(2), (count, graph.num_inputs)))
    return x, W


found = {name: [np.asarray(part) for part in jacobians_of(graph)(*batch(graph, 200))] for name, graph in graphs.items()}
figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
for ax, (name, (by_x, _)) in zip(axes, found.items(), strict=True):
    ax.imshow(np.sign(by_x[0]), cmap="RdBu", vmin=-1.6, vmax=1.6)
    ax.plot([-0.5, 8.5], [-0.5, 8.5], color="k", lw=0.6)
    ax.set(title=name, xticks=[], yticks=[], xlabel="neuron $i$", ylabel="constraint $j$")
plt.show()

# %% [markdown]
# And measured, on 200 random networks of each kind. NumPy's ranks and determinants are the second way: they know nothing of graphs.

# %%
print(f"{'':<26}{'max |det G_ξ − 1|':>18}{'rank of (G_ξ G_M)':>20}{'least singular value of G_ξ':>30}")
measured = {}
for name, (by_x, both) in found.items():
    off = np.abs(np.linalg.det(by_x) - 1).max()
    ranks = np.linalg.matrix_rank(both)
    least = np.linalg.svd(by_x, compute_uv=False)[:, -1]
    measured[name] = off, ranks, least
    print(
        f"{name:<26}{off:>18.1e}{f'{ranks.min()} to {ranks.max()} of 9':>20}{f'{least.min():.3f} to {least.max():.3f}':>30}"
    )

# %% [markdown]
# The determinant is 1 to rounding on both acyclic graphs, and rank is full. A caution that a determinant hides: full rank is not the same as *well conditioned*. With
# large weights and unsaturated neurons the least singular value of $G_\xi$ falls, though its determinant stays at 1:

# %%
deep = ll.Layered((2, 4, 4, 4, 4, 1), activation="linear")
scales, least_of_scale = (0.5, 1.0, 2.0, 4.0), []
for scale in scales:
    by_x, _ = jacobians_of(deep)(*batch(deep, 50, scale))
    least_of_scale.append(float(np.median(np.linalg.svd(by_x, compute_uv=False)[:, -1])))
    print(
        f"weights times {scale:<4g} det G_ξ = {float(np.linalg.det(by_x[0])):.6f}   least singular value {least_of_scale[-1]:.1e}"
    )

# %% [markdown]
# ## 3 · Where it fails: cycles
#
# On a graph with cycles $\det G_\xi$ can be anything. For a loop of two neurons, by hand,
#
# $$G_\xi=\begin{pmatrix}1&-\sigma_1'w_{12}\\-\sigma_2'w_{21}&1\end{pmatrix},\qquad \det G_\xi=1-\sigma_1'\sigma_2'\,w_{12}w_{21} ,$$
#
# which vanishes for tanh neurons ($\sigma'(0)=1$) with $w_{12}=w_{21}=1$ at $x=0$. For logistic neurons ($\sigma'\le\frac14$) it cannot vanish
# before $w_{12}w_{21}=16$. But $G_\xi$ singular does not yet mean that the constraints are dependent, since $G_M$ may help. When does it?
#
# **Claim.** Let $d_j=(G_MG_M^{\mathsf T})_{jj}=\sigma'(a_j)^2\sum_kx_k^2$, the sum over the neurons that feed $j$ (0 for inputs). Then $(G_\xi\;G_M)$ has full rank if and only
# if the rows of $G_\xi$ of those neurons with $d_j=0$ are independent.
#
# **Proof.** Rank is lost if some $u\ne0$ has $u^{\mathsf T}G_\xi=0$ and $u^{\mathsf T}G_M=0$. The second means $0=|u^{\mathsf T}G_M|^2=\sum_ju_j^2d_j$: $u_j=0$ wherever $d_j>0$. What remains
# of the first is a linear relation among the rows with $d_j=0$. ∎
#
# Measured on a graph with two loops, at 400 random points. In half of them weights are scaled so that $G_\xi$ is singular exactly, and some neurons are set to zero, so that some $d_j$ vanish. First way:
# NumPy's rank of the explicit matrix, from the formulas above. Second way: the criterion. Third: `ll.networks.constraint_rank`.

# %%
edges = [(0, 1), (1, 1), (1, 2), (2, 3), (3, 2)]
loops = ll.Digraph(4, edges, 1, 1, activation="linear")  # linear: σ′ = 1, so that singular points can be hit exactly
source, target = np.array(edges).T
rng = np.random.default_rng(5)
W = rng.normal(size=(400, 5))
singular = np.arange(400) % 2 == 0
one, two = np.arange(400) % 4 == 0, np.arange(400) % 4 == 2
W[one, 1] = 1.0  # the self-loop of neuron 1
W[two, 4] = 1 / W[two, 3]  # the loop 2 → 3 → 2
x = rng.normal(size=(400, 4)) * (rng.random((400, 4)) < 0.4)

matrix, by_weight = np.zeros((400, 4, 4)), np.zeros((400, 4, 5))
matrix[:, target, source] = W
by_weight[:, target, np.arange(5)] = -x[:, source]
by_neuron = np.eye(4) - matrix
rank = np.linalg.matrix_rank(np.concatenate([by_neuron, by_weight], axis=2), tol=1e-10)

d = np.sum(by_weight**2, axis=2)
criterion = np.array(
    [
        np.linalg.matrix_rank(rows[free == 0], tol=1e-10) == np.sum(free == 0)
        for rows, free in zip(by_neuron, d, strict=True)
    ]
)
report = jax.jit(jax.vmap(lambda x, W: ll.networks.constraint_rank(loops, x, W, rtol=1e-10)))(x, W)

print(f"{'':<24}{'full rank':>10}{'rank lost':>10}")
for name, rows in (("G_ξ regular", ~singular), ("G_ξ singular", singular)):
    print(f"{name:<24}{np.sum(rank[rows] == 4):>10}{np.sum(rank[rows] < 4):>10}")
agree = np.mean(criterion == (rank == 4)), np.mean(np.asarray(report.rank) == rank)
print(f"\nthe criterion agrees at {agree[0]:.0%} of all points, ll.networks.constraint_rank at {agree[1]:.0%}")

# %% [markdown]
# ## What it looks like
#
# Full rank of $(G_\xi\;G_M)$ says that $\{G=0\}$ is a smooth surface, on which a motion is well defined. $G_\xi$ regular says more: that the neurons on it are a
# function of the weights, $x=f(W)$. The difference shows in the plane of one weight and one neuron:
#
# * **feedforward**, $x=\tanh(w\,e)$: a graph over $w$;
# * **loop with input**, $x=\tanh(e+wx)$: the curve *folds*. At the fold $G_\xi=0$, there is no forward pass, yet the curve is smooth and a motion
#   can run through: mechanics in full coordinates does not need $x=f(W)$;
# * **loop without input**, $x=\tanh(wx)$: two curves *cross* at $(1,0)$. There $(G_\xi\;G_M)=0$: no tangent, no unique multiplier, no mechanics.

# %%
LOOP = ll.Digraph(2, [(0, 1), (1, 1)], 1, 1)  # neuron 0 is the input; W = (weight of the input, weight w of the loop)
E = 0.3
x_fold = brentq(
    lambda x: (np.arctanh(x) - E) * (1 - x**2) - x, -0.9, -0.1
)  # where w(x) = (arctanh x − e)/x is extremal
w_fold = (np.arctanh(x_fold) - E) / x_fold
special = {"fold": ([E, x_fold], [1.0, w_fold]), "crossing": ([0.0, 0.0], [1.0, 1.0])}
reports = {name: ll.networks.constraint_rank(LOOP, *map(jnp.asarray, point)) for name, point in special.items()}
for name, report in reports.items():
    print(f"at the {name}\n{report}\n")

# %%
figure, axes = plt.subplots(1, 3, figsize=(10, 3.3), layout="constrained", sharey=True)
line = np.linspace(-1, 3, 100)
axes[0].plot(line, np.tanh(line * 0.8), color=BLUE, lw=2)
axes[0].set(title="feedforward, $e=0.8$", ylabel="neuron $x$", xlim=(-1, 3))
for branch in (np.linspace(-0.998, -0.01, 400), np.linspace(0.01, 0.998, 400)):
    axes[1].plot((np.arctanh(branch) - E) / branch, branch, color=BLUE, lw=2)
axes[1].plot(w_fold, x_fold, "o", color="w", mec=BLUE, mew=2, ms=9)
axes[1].annotate(
    "$G_\\xi$ singular,\n$(G_\\xi\\;G_M)$ not",
    (w_fold, x_fold),
    (-0.8, -0.75),
    arrowprops={"arrowstyle": "-", "color": GREY},
)
axes[1].set(title="loop with input, $e=0.3$")
axes[2].plot(line, 0 * line, color=BLUE, lw=2)
branch = np.linspace(-0.998, 0.998, 400)
axes[2].plot(np.arctanh(branch) / branch, branch, color=BLUE, lw=2)
axes[2].plot(1, 0, "X", color=RED, ms=11)
axes[2].annotate("rank lost", (1, 0), (-0.3, 0.4), color=RED, arrowprops={"arrowstyle": "-", "color": GREY})
axes[2].set(title="loop without input")
for ax in axes:
    ax.set(xlabel="weight $w$", xlim=(-1, 3), ylim=(-1.05, 1.05))
plt.show()

# %% [markdown]
# That a motion can run through the fold is easily tried: a free motion (no loss, no friction) of $(x,w_{\text{in}},w)$, pushed towards the fold from
# the branch above it. $\det G_\xi=1-\sigma'w$ must change its sign, and nothing else should happen.

# %%
free = ll.CognitiveAction(
    LOOP, potential=lambda x, y: 0.0 * x[0], mass_x=1.0, mass_W=1.0, dissipation=ll.NoDissipation()
).law("full")
still = ll.Stimulus(input=jnp.array([E]), target=jnp.zeros(1))
x_start = -0.4
q = (jnp.array([E, x_start]), jnp.array([1.0, (np.arctanh(x_start) - E) / x_start]))
v = (jnp.array([0.0, -1.0]), jnp.zeros(2))
whole = ll.EulerLagrange(free.lagrangian, free.constraint)
state = whole.initial_state(0.0, q, v, still, consistent="project")
path = ll.simulate(free, state, np.linspace(0.0, 1.0, 21), still)
determinant = 1 - (1 - np.asarray(path.x)[:, 1] ** 2) * np.asarray(path.W)[:, 1]
print("det G_ξ on the way:", np.round(determinant[::4], 3))
print(
    f"largest |G| {path.constraint_residual.max():.0e}, energy kept to {np.ptp(path.energy):.0e}, largest multiplier {np.abs(path.multipliers).max():.2f}"
)

# %% [markdown]
# At the crossing itself there is nothing to integrate. The library guards every start on a graph with cycles, and names the cycle:

# %%
try:
    ll.networks.guard_rank(LOOP, jnp.array([0.0, 0.0]), jnp.array([1.0, 1.0]))
    refusal = ""
except eqx.EquinoxRuntimeError as error:
    refusal = next(line.split(": ", 1)[1] for line in str(error).splitlines() if "EquinoxRuntimeError: " in line)
print(refusal)

# %% [markdown]
# ## The verdict

# %%
verdicts = ll.verify.run(
    ["neurons-as-constraints", "xor-example", "proposition-1", "rank-on-cycles", "proof-of-proposition-1"]
)
verdicts

# %% [markdown]
# Proposition 1 **holds with a condition**: on acyclic graphs, and there for all weights, inputs and activations. The paper knows ("heavily depends
# on the assumption … triangular"), the statement does not say it. On cycles, rank must be checked along the way, or information must be given a finite
# speed: then $G=\dot x/c+x-\sigma(Wx)$, $G_{\dot x}=I/c$ has full rank on any graph (notebook 6).

# %%
assert error_4 < 1e-13  # the library's constraints are (4)
for name in ("layered 2–3–3–1", "acyclic, numbered anyhow"):
    off, ranks, _ = measured[name]
    assert off < 1e-12  # det G_ξ = 1
    assert np.all(ranks == 9)  # Proposition 1
assert measured["with cycles"][0] > 0.1  # on cycles the determinant is another
assert least_of_scale[-1] < 1e-2 * least_of_scale[0]  # full rank is not well conditioned
assert agree == (1.0, 1.0)  # the criterion
assert np.any(rank[singular] == 4)  # G_ξ may be singular and rank full
assert np.any(rank[singular] < 4)
assert not np.any(rank[~singular] < 4)
assert int(reports["fold"].state_rank) == 1
assert bool(reports["fold"].full_rank)
assert not bool(reports["crossing"].full_rank)
assert determinant[0] * determinant[-1] < 0  # the motion went through the fold
assert path.constraint_residual.max() < 1e-12
assert np.ptp(path.energy) < 1e-8
assert "lose rank on the cycle through neurons 1" in refusal
assert verdicts.as_documented
