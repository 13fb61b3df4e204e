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
# # 12 · A four-bar linkage: torques, bar forces, a better design and unknown masses by gradient
#
# **What the user wants.** A motor turns the crank of a four-bar linkage at constant speed, and a rocker swings. Which
# torque does the motor need, which forces do the bars carry, and which bar lengths lower the peak torque without
# changing the swing of the rocker?
#
# The linkage is a closed loop, so its equations of motion are differential-algebraic. The library integrates them in
# Cartesian coordinates of the joints. The multipliers of the constraints are the forces, and `jax.grad` goes through
# the run to the lengths.
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
from scipy.optimize import least_squares

import lagrangian_learning as ll

jax.config.update("jax_enable_x64", True)
ll.plot.use_style()

# %% [markdown]
# ## The linkage
#
# The crank turns about $O=(0,0)$ and ends in joint $A$. The coupler leads from $A$ to joint $B$, the rocker from $B$ to
# the pivot $D=(d,0)$. The bars are light beside the joints, so the masses $m_A$ and $m_B$ sit in $A$ and $B$. Lengths
# are in m, masses in kg, times in s.
#
# $$\ell=\tfrac12m_A|\dot A|^2+\tfrac12m_B|\dot B|^2-g\,(m_AA_y+m_BB_y),$$
#
# $$G=\big(\tfrac12(|A|^2-a^2),\ \tfrac12(|B-A|^2-b^2),\ \tfrac12(|B-D|^2-c^2),\
# A_y\cos\omega t-A_x\sin\omega t\big)=0 .$$
#
# The last constraint is the motor: it holds the crank at the angle $\omega t$. The reaction of constraint $k$ is
# $-\delta_k\,\partial G_k/\partial q$. Hence $\delta_1a$, $\delta_2b$ and $\delta_3c$ are the tensions of the bars,
# and the motor pushes $A$ with the force $-\delta_4$ across the crank: its torque is $-a\,\delta_4$.

# %%
CRANK, MASS_A, MASS_B, GRAVITY, OMEGA = 0.10, 0.4, 1.2, 9.81, 12.0
LENGTHS = np.array([0.40, 0.20, 0.35])  # coupler b, rocker c, ground d
PERIOD = 2 * np.pi / OMEGA
times = np.linspace(0.0, PERIOD, 181)


def density(t, q, v, lengths):
    kinetic = MASS_A * jnp.sum(v[0] ** 2) / 2 + MASS_B * jnp.sum(v[1] ** 2) / 2
    return kinetic - GRAVITY * (MASS_A * q[0, 1] + MASS_B * q[1, 1])


def loop(t, q, lengths):
    b, c, d = lengths
    (A, B), pivot = q, jnp.array([1.0, 0.0]) * d
    bars = jnp.stack([A @ A - CRANK**2, (B - A) @ (B - A) - b**2, (B - pivot) @ (B - pivot) - c**2]) / 2
    motor = A[1] * jnp.cos(OMEGA * t) - A[0] * jnp.sin(OMEGA * t)
    return jnp.append(bars, motor)


law = ll.EulerLagrange(ll.Lagrangian(density), ll.Holonomic(loop))


def start_of(lengths):
    """The joints at t = 0, where the crank lies along the ground: the triangle A, B, D."""
    b, c, d = lengths
    base = d - CRANK
    x = (b**2 - c**2 + base**2) / (2 * base)
    q = jnp.stack([jnp.array([CRANK, 0.0]), jnp.stack([CRANK + x, jnp.sqrt(b**2 - x**2)])])
    first = jnp.array([0.0, CRANK * OMEGA])  # the velocity of A; that of B is along the circle about D and keeps b
    along, about = q[1] - q[0], q[1] - jnp.stack([d, jnp.zeros_like(d)])
    second = jnp.linalg.solve(jnp.stack([along, about]), jnp.stack([along @ first, jnp.zeros_like(d)]))
    return law.initial_state(0.0, q, jnp.stack([first, second]), args=lengths)


@jax.jit
def turn(lengths):
    """One turn of the crank."""
    return ll.simulate(law, start_of(lengths), times, lengths, solver=diffrax.Tsit5(), dt0=PERIOD / 360, max_steps=512)


path = turn(jnp.asarray(LENGTHS))
torque = -CRANK * np.asarray(path.multipliers)[:, 3]
tension = np.asarray(path.multipliers)[:, :3] * np.array([CRANK, *LENGTHS[:2]])
print(path)
print(f"\npeak torque of the motor {np.abs(torque).max():.3f} N m, mean {torque[:-1].mean():+.1e} N m")

# %% [markdown]
# The mean over a turn is zero, as it must be: nothing dissipates here, so the motor gets back what it gives.
#
# ## Check: the closed form
#
# The position of $B$ follows from the angle of the crank by intersecting two circles. Derivatives by the angle are
# taken by a complex step, in NumPy. Two laws of mechanics then give the same quantities without any multiplier:
#
# * **virtual power**: torque $\times\ \omega=\frac{d}{dt}$(kinetic + potential energy);
# * **Newton's law** for the mass in $B$: only coupler and rocker pull at it, which is a system of two equations.

# %%
STEP = 1e-20


def joint_b(angle, lengths):
    """B as a complex number's two parts, kept apart so that the angle itself may be complex."""
    b, c, d = lengths
    to_pivot = np.stack([d - CRANK * np.cos(angle), -CRANK * np.sin(angle)])
    square = np.sum(to_pivot**2, axis=0)
    along = (b**2 - c**2 + square) / (2 * square)
    across = np.sqrt(b**2 / square - along**2)
    A = CRANK * np.stack([np.cos(angle), np.sin(angle)])
    return A + along * to_pivot + across * np.stack([-to_pivot[1], to_pivot[0]])


def velocity_b(angle, lengths):
    """dB/dt, from the two conditions that keep b and c, for a complex angle too."""
    A = CRANK * np.stack([np.cos(angle), np.sin(angle)])
    rate = OMEGA * CRANK * np.stack([-np.sin(angle), np.cos(angle)])
    B = joint_b(angle, lengths)
    along, about = B - A, B - np.array([[lengths[2]], [0.0]])
    area = along[0] * about[1] - along[1] * about[0]
    drive = np.sum(along * rate, axis=0)
    return drive / area * np.stack([about[1], -about[0]])


def torque_by_power(angle, lengths):
    """dE/dφ: the derivative of the energy by the crank's angle is the torque."""
    shifted = angle + 1j * STEP
    A_y, B, speed = CRANK * np.sin(shifted), joint_b(shifted, lengths), velocity_b(shifted, lengths)
    energy = MASS_B * np.sum(speed**2, axis=0) / 2 + GRAVITY * (MASS_A * A_y + MASS_B * B[1])
    return energy.imag / STEP


angle = OMEGA * times
by_power = torque_by_power(angle, LENGTHS)
B = joint_b(angle, LENGTHS)
acceleration = OMEGA * velocity_b(angle + 1j * STEP, LENGTHS).imag / STEP
A = CRANK * np.stack([np.cos(angle), np.sin(angle)])
directions = np.stack([(A - B) / LENGTHS[0], (np.array([[LENGTHS[2]], [0.0]]) - B) / LENGTHS[1]], axis=-1)
needed = MASS_B * (acceleration + np.array([[0.0], [GRAVITY]]))
by_newton = np.linalg.solve(directions.transpose(1, 0, 2), needed.T[..., None])[..., 0]

errors = {
    "joints": np.abs(np.asarray(path.q)[:, 1] - B.T).max(),
    "torque": np.abs(torque - by_power).max(),
    "tensions": np.abs(tension[:, 1:] - by_newton).max(),
}
for name, error in errors.items():
    print(f"{name:<9} largest difference from the closed form {error:.1e}")

# %% [markdown]
# ## Gradients: which length matters?
#
# The peak of |torque| and the swing of the rocker are differentiated through the run by the three lengths. With three
# numbers to differentiate by, forward mode (`jax.jacfwd`) is cheapest; `jax.grad` gives the same. The second way is a
# central difference of the closed form, on the same instants. It shares no code with the first.


# %%
def peak_and_swing(lengths):
    """max |torque| in N m, and the angle in rad between the two ends of the rocker's motion."""
    path = turn(lengths)
    angles = jnp.arctan2(path.q[:, 1, 1], path.q[:, 1, 0] - lengths[2])
    return jnp.stack([jnp.max(jnp.abs(CRANK * path.multipliers[:, 3])), jnp.max(angles) - jnp.min(angles)])


@jax.jit
def value_and_slopes(lengths):
    return peak_and_swing(lengths), jax.jacfwd(peak_and_swing)(lengths)


(value, wanted_swing), (slope, _) = value_and_slopes(jnp.asarray(LENGTHS))
h = 1e-6
by_difference = np.array(
    [
        (np.abs(torque_by_power(angle, LENGTHS + e)).max() - np.abs(torque_by_power(angle, LENGTHS - e)).max())
        / (2 * h)
        for e in h * np.eye(3)
    ]
)
print("                    coupler   rocker   ground    (N m per m)")
print("through the run   " + "".join(f"{s:>9.4f}" for s in np.asarray(slope)))
print("closed form       " + "".join(f"{s:>9.4f}" for s in by_difference))

# %% [markdown]
# ## A better design
#
# Longer bars alone would lower the torque by making the rocker swing less. The swing is what the machine is for, so it
# is kept: each step follows the gradient of the peak torque only along the directions in which the swing stays as it
# is, and then returns to the swing by one step of Newton's method. The lengths may change by a quarter.


# %%
def design_step(lengths):
    """Peak and swing, and the next lengths."""
    values, (by_peak, by_swing) = (np.asarray(part) for part in value_and_slopes(jnp.asarray(lengths)))
    unit = by_swing / np.linalg.norm(by_swing)
    free = by_peak - (by_peak @ unit) * unit
    back = (values[1] - wanted_swing) / np.linalg.norm(by_swing) * unit
    moved = lengths - 0.004 * free / np.linalg.norm(free) - back
    return values, np.clip(moved, 0.75 * LENGTHS, 1.25 * LENGTHS)


history, lengths = [], LENGTHS
for _ in range(40):
    values, following = design_step(lengths)
    history.append((values, lengths))
    lengths = following
kept = [(values, where) for values, where in history if abs(values[1] - wanted_swing) < 2e-3]
(best_peak, best_swing), best = min(kept, key=lambda entry: entry[0][0])
better = torque_by_power(angle, best)
print(f"lengths {LENGTHS} → {np.round(best, 3)} m")
print(f"peak torque {value:.3f} → {best_peak:.3f} N m, closed form of the new linkage {np.abs(better).max():.3f} N m")
print(f"swing {np.degrees(wanted_swing):.2f}° → {np.degrees(best_swing):.2f}°")

# %% [markdown]
# The second way is a search that needs no gradient: 20,000 random lengths within the same bounds, by the closed form. Of
# those with the wanted swing the best is kept. A search in three numbers can afford that; one in thirty cannot.

# %%
drawn = LENGTHS * np.random.default_rng(0).uniform(0.75, 1.25, (20_000, 3))


def closed_form(lengths):
    B = joint_b(angle, lengths)
    return np.abs(torque_by_power(angle, lengths)).max(), np.ptp(np.arctan2(B[1], B[0] - lengths[2]))


with np.errstate(invalid="ignore", divide="ignore"):  # lengths that do not close
    found = np.array([closed_form(lengths) for lengths in drawn])
fitting = np.abs(found[:, 1] - wanted_swing) < 4e-3
searched = found[fitting, 0].min()
print(f"{fitting.sum()} of {len(drawn):,} have the swing; their least peak torque is {searched:.3f} N m")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), width_ratios=(1, 1.2))
for k in range(0, 180, 15):
    joints = np.array([[0, 0], A[:, k], B[:, k], [LENGTHS[2], 0]])
    left.plot(*joints.T, "o-", color="C0", ms=3, lw=2 if k == 30 else 0.8, alpha=1 if k == 30 else 0.3)
left.plot(*joint_b(angle, best), color="C1", lw=2, label="joint B, new lengths")
left.plot(*B, color="C0", lw=2, label="joint B")
left.plot([0, LENGTHS[2]], [0, 0], "k^", ms=8)
left.set(aspect="equal", xlabel="m", title="the linkage in twelve positions")
left.legend(fontsize=8, loc="lower left")
right.plot(np.degrees(angle), torque, color="C0", lw=4, alpha=0.4, label="from the multiplier")
right.plot(np.degrees(angle), by_power, "--", color="k", lw=1, label="from the power, closed form")
right.plot(np.degrees(angle), better, color="C1", label="new lengths")
right.set(xlabel="angle of the crank, degrees", ylabel="torque of the motor, N m", title="the torque over one turn")
right.legend(fontsize=8)
plt.show()

# %% [markdown]
# ## What are its masses and its spring?
#
# Now the other way round: a linkage is at hand, and its constants are not known. The motor is taken off, and a spring of
# stiffness $k$ leads from $B$ to a fixed point. The linkage is let go from rest, a camera sees $A$ and $B$ at 61 instants,
# each coordinate with an error of 1 mm. Which $m_A$, $m_B$ and $k$ move like that?
#
# **A free motion shows ratios only.** If all masses and the spring are doubled, every term of the equations doubles, the weight
# too, and nothing moves otherwise. Something in newtons has to be known: here a force $F$ on joint $A$, upward.
#
# The motion that is seen is integrated by SciPy in the angle $\varphi$ of the crank alone, from its energy, with the closed form
# of $B$ from above: with $I=m_Aa^2+m_B|dB/d\varphi|^2$ and the potential $U$, $I\ddot\varphi=-U'-\frac12I'\dot\varphi^2$.

# %%
ANCHOR, REST, FORCE, SEEN, ERROR = np.array([0.55, 0.25]), 0.10, 8.0, np.linspace(0.0, 0.6, 61), 1e-3
TRUE, LET_GO = np.array([MASS_A, MASS_B, 40.0]), 1.0  # m_A, m_B, k; the angle at the start in rad


def inertia_and_potential(angle):
    B = joint_b(angle, LENGTHS)
    slope = velocity_b(angle, LENGTHS) / OMEGA
    stretch = np.sqrt(np.sum((B - ANCHOR[:, None]) ** 2, axis=0)) - REST
    weights = GRAVITY * (MASS_A * CRANK * np.sin(angle) + MASS_B * B[1])
    inertia = MASS_A * CRANK**2 + MASS_B * np.sum(slope**2, axis=0)
    return inertia, weights + TRUE[2] * stretch**2 / 2 - FORCE * CRANK * np.sin(angle)


def rates(t, y):
    inertia, potential = inertia_and_potential(y[:1] + 1j * STEP)
    push = -(potential.imag + inertia.imag * y[1] ** 2 / 2) / STEP
    return np.append(y[1], push / inertia.real)


turned = solve_ivp(rates, (0.0, SEEN[-1]), [LET_GO, 0.0], t_eval=SEEN, method="DOP853", rtol=1e-11, atol=1e-12).y[0]
exact = np.stack([CRANK * np.stack([np.cos(turned), np.sin(turned)]), joint_b(turned, LENGTHS)]).transpose(2, 0, 1)

# %% [markdown]
# The library is given the Lagrangian with the spring, the three bars, and the force. The unknowns are logarithms of
# $m_A$, $m_B$, $k$, and the angle at the start. SciPy's Levenberg–Marquardt method gets the derivatives through the whole run, and begins
# with constants that are wrong by a factor of two. With $J$ the derivatives of what is seen and $s$ the size of what is left,
# the covariance is $s^2(J^{\mathsf T}J)^{-1}$.


# %%
def sprung(t, q, v, constants):
    m_A, m_B, k, _ = constants
    stretch = jnp.linalg.norm(q[1] - ANCHOR) - REST
    kinetic = m_A * jnp.sum(v[0] ** 2) / 2 + m_B * jnp.sum(v[1] ** 2) / 2
    return kinetic - GRAVITY * (m_A * q[0, 1] + m_B * q[1, 1]) - k * stretch**2 / 2


def three_bars(t, q, constants):
    return loop(t, q, jnp.asarray(LENGTHS))[:3]


def lifted(t, q, v, constants):
    return jnp.zeros((2, 2)).at[0, 1].set(constants[3])


loose = ll.EulerLagrange(ll.Lagrangian(sprung), ll.Holonomic(three_bars), forces=lifted)


def joints_at(angle):
    """As `joint_b`, in JAX, with A before it."""
    b, c, d = LENGTHS
    A = CRANK * jnp.stack([jnp.cos(angle), jnp.sin(angle)])
    to_pivot = jnp.array([d, 0.0]) - A
    square = to_pivot @ to_pivot
    along = (b**2 - c**2 + square) / (2 * square)
    across = jnp.sqrt(b**2 / square - along**2)
    return jnp.stack([A, A + along * to_pivot + across * jnp.stack([-to_pivot[1], to_pivot[0]])])


def seen_with(logs, force):
    constants = jnp.append(jnp.exp(logs[:3]), force)
    begin = loose.initial_state(0.0, joints_at(logs[3]), args=constants)
    return ll.simulate(loose, begin, SEEN, constants, solver=diffrax.Tsit5(), dt0=0.005, watch="nothing", throw=False).q


@jax.jit
def seen_and_slopes(logs, force):
    """What is seen, and its derivatives by the logarithms."""
    return seen_with(logs, force).ravel(), jax.jacfwd(seen_with)(logs, force).reshape(-1, 4)


def fit(begin, seen):
    """Logarithms, and their covariance."""

    def left(logs):
        return np.asarray(seen_and_slopes(jnp.asarray(logs), FORCE)[0]) - seen.ravel()

    def slopes(logs):
        return np.asarray(seen_and_slopes(jnp.asarray(logs), FORCE)[1])

    logs = least_squares(left, begin, slopes, method="lm", xtol=1e-12).x
    J, rest = slopes(logs), left(logs)
    return logs, np.sum(rest**2) / (rest.size - 4) * np.linalg.inv(J.T @ J)


truth = np.append(np.log(TRUE), LET_GO)
wrong = truth + np.log(2) * np.array([1, -1, 1, 0])
unspoiled, _ = fit(wrong, exact)
blurred = exact + ERROR * np.random.default_rng(0).normal(size=exact.shape)
logs, covariance = fit(wrong, blurred)
deviations = np.sqrt(np.diag(covariance))
print("                      m_A       m_B         k")
print("truth           " + "".join(f"{value:>10.4f}" for value in TRUE))
print("found from 1 mm " + "".join(f"{value:>10.4f}" for value in np.exp(logs[:3])))
print("± (one sigma)   " + "".join(f"{value:>10.4f}" for value in np.exp(logs[:3]) * deviations[:3]))
without_noise = np.abs(np.expm1(unspoiled - truth)[:3])
print("without noise, relative error " + " ".join(f"{value:.0e}" for value in without_noise))

# %% [markdown]
# And what a free motion shows: of the derivatives by the three logarithms, with $F=0$, the singular value that belongs to
# $(1,1,1)/\sqrt3$ is zero.

# %%
by_logs = np.asarray(seen_and_slopes(jnp.asarray(truth), 0.0)[1])[:, :3]
_, singular, directions = np.linalg.svd(by_logs, full_matrices=False)
print("free: singular values " + " ".join(f"{value:.1e}" for value in singular))
print(
    "not seen: "
    + " ".join(f"{part:+.4f} log {name}" for part, name in zip(directions[-1], ("m_A", "m_B", "k"), strict=True))
)

# %% [markdown]
# ## The result
#
# * Torque and bar forces are the multipliers of one run, and equal to the closed form to the tolerance of the integration.
# * The gradient through the run equals that of the closed form. Here a closed form exists; for six bars, friction or an
#   elastic coupler it does not, and nothing in the first way changes.
# * Along the gradient the peak torque falls to 41 %, within two percent of the best of 20,000 random designs.
# * Both masses and the spring are found from a motion that is seen to a millimetre, with error bars that hold the truth, as soon
#   as one force is known. The study `mechanics_by_gradient` counts how often they hold it.
# * What this leaves out: bars with mass, clearance and friction in the joints. Masses spread along a bar change the
#   kinetic energy and the weight in `density`; multipliers are then forces between joints, not tensions along a bar.

# %%
assert errors["joints"] < 1e-8
assert errors["torque"] < 1e-6  # against virtual power
assert errors["tensions"] < 1e-5  # against Newton's law for joint B
assert abs(torque[:-1].mean()) < 1e-6  # no work over a turn
assert np.allclose(slope, by_difference, rtol=1e-4, atol=1e-4)
assert np.abs(better).max() < 0.5 * np.abs(by_power).max()  # the new design is better by the closed form as well,
assert abs(closed_form(best)[1] - wanted_swing) < 4e-3  # has the swing,
assert best_peak < 1.05 * searched  # and is as good as a search without gradients finds
assert np.all(without_noise < 1e-6)  # SciPy's motion in one angle has the constants that it was made with,
assert np.all(np.abs(logs - truth) < 4 * deviations)  # and with noise they are within their error bars
assert singular[-1] < 1e-10 * singular[0]  # a free motion does not show the common scale
assert np.allclose(np.abs(directions[-1]), 1 / np.sqrt(3), atol=1e-6)
