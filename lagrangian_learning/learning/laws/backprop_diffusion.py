"""Backpropagation in time by a costate, (20): its guards and its law."""

from typing import Any

import equinox as eqx
import jax
import jax.core
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, PyTree

from lagrangian_learning._arrays import all_finite, as_time, cast, max_abs, tree_scale, tree_zeros
from lagrangian_learning._checks import about, flag, instance, nonnegative, one_of, positive, require, time
from lagrangian_learning.learning.checks import (
    check_constants,
    check_state,
    check_stimulus,
    like_neurons,
    without_velocities,
)
from lagrangian_learning.learning.delta_errors import delta_errors, descent_force, potential_gradient
from lagrangian_learning.learning.potential import AbstractPotential, SquaredError, as_potential
from lagrangian_learning.mechanics import AbstractBoundaryLaw, Decay, Rates, State
from lagrangian_learning.networks import AbstractNetwork, Layered, state_jacobian
from lagrangian_learning.signals import Stimulus

from .limits import friction

Costate = str
_RUNAWAY = 1e6
COSTATES: tuple[Costate, ...] = ("sign_flip", "forward", "parity")


def check_costate(costate: Any, network: AbstractNetwork) -> None:
    """ValueError for an unknown rule, and for "parity" on a network that is not strictly layered."""
    one_of(costate, "costate", COSTATES)
    if costate == "parity" and not isinstance(network, Layered):
        raise ValueError(
            'costate="parity" undoes one gain a layer, which exists for ll.Layered networks only: '
            'use costate="sign_flip".'
        )


def direction(costate: Costate) -> int:
    """The sign s of δ̇ = s c (T δ + V_ξ) − ϑ δ: +1 as derived, −1 for "sign_flip"."""
    return -1 if costate == "sign_flip" else 1


def growth_rate(
    network: AbstractNetwork, costate: Costate, speed: Array, theta: Array, x: PyTree, W: PyTree
) -> Float[Array, ""]:
    """The largest real part of the spectrum of δ ↦ s c T δ − ϑ δ, x and W frozen: unstable if positive.

    s c − ϑ for a feedforward network, where T is unit triangular; by the eigenvalues of T, O(ν³), on cycles.
    costate, speed and theta as in `BackpropDiffusion`; x, W are neurons and weights of the network.
    """
    if network.feedforward:
        return direction(costate) * speed - theta
    eigenvalues = jnp.linalg.eigvals(state_jacobian(network, x, W))
    return jnp.max(direction(costate) * speed * jnp.real(eigenvalues)) - theta


def is_unstable(rate: Array, speed: Array, theta: Array) -> Bool[Array, ""]:
    """Whether a growth rate is positive beyond rounding."""
    return rate > 1e3 * jnp.finfo(rate.dtype).eps * (speed + theta)


def has_run_away(delta: PyTree, potential_gradient: PyTree) -> Bool[Array, ""]:
    """Whether |δ| has left every size that the loss explains, long before it overflows."""
    return max_abs(delta) > _RUNAWAY * (1 + max_abs(potential_gradient))


def layer_gains(costate: Costate, speed: ArrayLike, theta: ArrayLike, num_layers: int) -> Float[Array, " layers"]:
    """(1 − s ϑ/c)^{−(L−l+1)} for l = 0 … L: stationary δ over backprop's, x frozen, layer by layer (docs/theory.md §7).

    s = +1 as derived (forward, parity), −1 for the sign flip. num_layers is L; layer L is the output.
    Other arguments as in `BackpropDiffusion`.
    """
    base = 1 - direction(costate) * jnp.asarray(theta) / jnp.asarray(speed)
    return base ** -jnp.arange(num_layers + 1, 0, -1).astype(base.dtype)


def without_gains(costate: Costate, speed: Array, theta: Array, delta: PyTree) -> PyTree:
    """δ of a layered network with its stationary gains divided out: an array [n_l] a layer."""
    gains = layer_gains(costate, speed, theta, len(delta) - 1)
    return tuple(tree_scale(1 / gain, layer) for gain, layer in zip(gains, delta, strict=True))


def costate_rate(
    costate: Costate, speed: Array, theta: Array, reaction: PyTree, potential_gradient: PyTree, delta: PyTree
) -> PyTree:
    """δ̇ = s c (G_ξᵀ δ + V_ξ) − ϑ δ: (20) with the term −ϑδ that substituting λ = e^{ϑt} δ leaves (erratum 2)."""
    forward = direction(costate) * speed
    return jax.tree.map(lambda r, v, d: forward * (r + v) - theta * d, reaction, potential_gradient, delta)


_SMOOTHNESS = 0  # signals are only read, never differentiated


def positive_speed(value: Any) -> Array:
    """c > 0 as a constant; ValueError otherwise."""
    return positive(value, "speed", "it is c of (18), 1/time.")


def _rate(value: Any) -> Array:
    return nonnegative(value, "theta")


class BackpropDiffusion(AbstractBoundaryLaw):
    """ẋ = c (σ(Wx) − x),  γ Ẇ_ij = σ′(a_i) δ_i x_j,  δ̇ = s c (T δ + V_ξ) − ϑ δ: (20) with its missing term.

    A forward wave x and a backward wave δ, local in space and time; as c → ∞, backpropagation. Input neurons follow
    ẋ = c (e − x). The sign s is the costate rule (docs/theory.md §7):

        "sign_flip"  s = −1: causal and stable on feedforward networks; for ϑ = 0 stationary at backprop.
        "forward"    s = +1, as derived from the action: stable only for ϑ > c (feedforward), refused otherwise.
        "parity"     as forward at ϑ > c, with the stationary gain (1 − ϑ/c)^{−(L−l+1)} of each layer divided out.

    Arguments:
        network: any network, cycles included.
        potential: V(x_out, y).
        gamma: γ > 0, the friction.
        speed: c > 0, in 1/time.
        theta: ϑ ≥ 0, 0 by default.
        costate: the rule above.
        undo_gain: divide the stationary gains (1 − sϑ/c)^{−(L−l+1)} out of δ before it moves the weights; layered
            networks only. Always on for "parity".

    The state is a `State` with q = (x, W) and multipliers δ. Raises ValueError for settings out of range.
    """

    network: AbstractNetwork
    potential: AbstractPotential = eqx.field(converter=as_potential, default=SquaredError())
    gamma: Float[Array, "..."] = eqx.field(converter=friction, default=1.0)  # pyright: ignore[reportAssignmentType]
    speed: Float[Array, "..."] = eqx.field(converter=positive_speed, default=10.0)  # pyright: ignore[reportAssignmentType]
    theta: Float[Array, "..."] = eqx.field(converter=_rate, default=0.0)  # pyright: ignore[reportAssignmentType]
    costate: Costate = eqx.field(static=True, default="sign_flip")
    undo_gain: bool = eqx.field(static=True, default=False)

    def __check_init__(self) -> None:
        instance(self.network, "network", AbstractNetwork, "a network such as ll.Layered((2, 2, 1))")
        flag(self.undo_gain, "undo_gain")
        check_costate(self.costate, self.network)
        if self.undo_gain and not isinstance(self.network, Layered):
            raise ValueError("undo_gain needs one gain a layer, which exists for ll.Layered networks only.")

    def initial_state(
        self,
        t0: Any,
        q: PyTree,
        v: None = None,
        args: Stimulus | None = None,
        *,
        x: PyTree = None,
        multipliers: PyTree = None,
    ) -> State:
        """Weights with their waves.

        Arguments:
            q: weights W.  args: a `Stimulus` for the network.
            x: neurons at t0; by default the forward pass on a feedforward network, zero on one with cycles.
            multipliers: δ(t0), like x; by default backprop's delta errors at x (zero on cycles).

        Raises ValueError for data that do not fit; NaN anywhere is an error.
        """
        with about("q"):
            W = self.network.check_weights(q)
        without_velocities(v)
        t0 = time(t0, "t0", W)
        check_stimulus(self.network, self.potential, _SMOOTHNESS, t0, args)
        assert args is not None
        x, delta = start_waves(self.network, self.potential, W, (args.input(t0), args.target(t0)), x, multipliers)
        delta = require(
            delta,
            all_finite((x, delta)),
            "q, x or multipliers are NaN or inf, or make it: give finite data of ordinary size.",
        )
        return State((x, W), None, multipliers=delta)

    def rates(self, t: Any, state: State, args: Stimulus) -> Rates:
        (x, W), delta = state.q, state.multipliers
        t = as_time(t, W)
        u, y = args.input(t), args.target(t)
        speed, theta = cast(self.speed, t), cast(self.theta, t)
        gap, pull_back = jax.vjp(lambda neurons: self.network.constraint(neurons, W, u), x)
        slope = potential_gradient(self.network, self.potential, x, y)
        delta_dot = costate_rate(self.costate, speed, theta, pull_back(delta)[0], slope, delta)
        force = descent_force(self.network, x, W, self.learning_multipliers(state))
        W_dot = tree_scale(1 / cast(self.gamma, t), force)
        return Rates(State((tree_scale(-speed, gap), W_dot), None, multipliers=delta_dot))

    def learning_multipliers(self, state: State) -> PyTree:
        """The δ that moves the weights: that of the state, or with the stationary gains divided out."""
        if not (self.undo_gain or self.costate == "parity"):
            return state.multipliers
        speed, theta = (cast(constant, state.multipliers) for constant in (self.speed, self.theta))
        return without_gains(self.costate, speed, theta, state.multipliers)

    def observables(self, t: Any, state: State, args: Stimulus) -> dict[str, PyTree]:
        change = self.rates(t, state, args).state
        return {"q": state.q, "v": change.q, "multipliers": state.multipliers}

    def growth_rate(self, state: State) -> Float[Array, ""]:
        """The largest real part of the spectrum of the costate equation, x and W frozen; unstable if positive."""
        x, W = state.q
        speed, theta = (cast(constant, state.multipliers) for constant in (self.speed, self.theta))
        return growth_rate(self.network, self.costate, speed, theta, x, W)

    def stops(self, t: Any, state: State, args: Stimulus) -> Bool[Array, ""]:
        target = args.target(as_time(t, state.q))
        return has_run_away(state.multipliers, potential_gradient(self.network, self.potential, state.q[0], target))

    def check(self, ts: Array, state: State, args: Stimulus) -> State:
        check_stimulus(self.network, self.potential, _SMOOTHNESS, ts, args)
        check_state(state, 0, whole=True, multipliers=True)
        self.network.check_weights(state.q[1])
        state = check_constants(state, self)
        return refuse_unstable(state, self.growth_rate(state), cast(self.speed, ts), cast(self.theta, ts))

    # -- the boundary-value reading --------------------------------------------------------------------------------

    def boundary_state(self, ts: Array, W: PyTree, args: Stimulus, *, x: PyTree, W_dot: PyTree) -> State:
        if self.costate != "forward":
            causal = "is causal and takes no value at t₁" if self.costate == "sign_flip" else "is for theta > speed"
            raise ValueError(
                f'costate="{self.costate}" {causal}: integrate it with ll.simulate. The boundary-value problem is that '
                'of the equations as derived: costate="forward".'
            )
        if W_dot is not None:
            raise ValueError("the weights of (20) have no mass, so that Ẇ follows: leave W_dot out.")
        state = check_constants(self.initial_state(ts[0], W, args=args, x=x), self)
        check_stimulus(self.network, self.potential, _SMOOTHNESS, ts, args)
        return refuse_fast_dissipation(state, cast(self.speed, ts), cast(self.theta, ts))

    def stationary(self, t: Any, state: State, args: Stimulus) -> State:
        return State(*stationary_waves(self.network, self.potential, as_time(t, state.q), state, args))

    def split(self, state: State) -> tuple[PyTree, PyTree]:
        return state.q, state.multipliers

    def joined(self, t: Any, causal: PyTree, costate: PyTree, args: Stimulus) -> State:
        return State(causal, None, multipliers=costate)

    def natural_condition(self, t: Any, state: State, args: Stimulus) -> PyTree:
        """δ(t₁) = 0."""
        return tree_zeros(state.multipliers)

    def slowed(self, factor: Any) -> "BackpropDiffusion":
        return eqx.tree_at(lambda law: law.gamma, self, self.gamma * cast(factor, self.gamma))

    @property
    def fastest_rate(self) -> Array:
        return self.speed

    # -- for readers -----------------------------------------------------------------------------------------------

    @property
    def linear_part(self) -> Decay:
        """−c on x, and −(ϑ − s c) on δ, the diagonal of its equation: T has ones there."""
        speed = jnp.asarray(self.speed)
        delta_rate = cast(self.theta, speed) - direction(self.costate) * speed
        return Decay(State((speed, jnp.zeros_like(speed)), None, multipliers=delta_rate), speed)

    @property
    def description(self) -> dict[str, str]:
        return {"equation": "backprop diffusion (18)–(20)", "costate": self.costate}

    @property
    def aliases(self) -> dict[str, tuple[str, int | None]]:
        return {"x": ("q", 0), "W": ("q", 1), "x_dot": ("v", 0), "W_dot": ("v", 1)}


def start_waves(
    network: AbstractNetwork, potential: AbstractPotential, W: PyTree, signals: tuple, x: PyTree, multipliers: PyTree
) -> tuple[PyTree, PyTree]:
    """(x, δ) at a start with input and target (u, y): as given, or those of backprop (zero on cycles) where None."""
    u, y = signals
    x = start_neurons(network, W, u) if x is None else like_neurons(network, W, x, "x")
    if multipliers is None:
        return x, start_multipliers(network, potential, x, W, y)
    return x, like_neurons(network, W, multipliers, "multipliers")


def start_neurons(network: AbstractNetwork, W: PyTree, u: Array) -> PyTree:
    """The forward pass, or zeros where cycles would need a root to be found."""
    x = jax.eval_shape(network.forward, W, u)
    if network.feedforward:
        return network.forward(W, u)
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), x)


def start_multipliers(network: AbstractNetwork, potential: AbstractPotential, x: PyTree, W: PyTree, y: Any) -> PyTree:
    """Backprop's delta errors, or zeros on cycles, where G_ξ may be singular."""
    return delta_errors(network, potential, x, W, y) if network.feedforward else tree_zeros(x)


def refuse_unstable(state: State, rate: Array, speed: Array, theta: Array) -> State:
    """The state, or an error with the eigenvalue that makes the costate an unstable initial-value problem."""
    shown = "" if isinstance(rate, jax.core.Tracer) else f" (eigenvalue {float(jnp.max(rate)):+.3g}, 1/time)"
    return require(
        state,
        ~is_unstable(rate, speed, theta),
        f"this costate grows exponentially forward in time{shown}, so that it is not an initial-value problem. "
        'Use costate="sign_flip", theta > speed, or ll.solve_boundary.',
    )


def stationary_waves(
    network: AbstractNetwork, potential: AbstractPotential, t: Array, state: State, stimulus: Stimulus
) -> tuple[tuple[PyTree, PyTree], None, None, None, PyTree]:
    """Forward pass and backprop's deltas at t with the weights of the state; with cycles those of the state itself."""
    x, W = state.q
    if not network.feedforward:
        return (x, W), None, None, None, state.multipliers
    x = network.forward(W, stimulus.input(t))
    return (x, W), None, None, None, delta_errors(network, potential, x, W, stimulus.target(t))


def refuse_fast_dissipation(state: State, speed: Array, theta: Array) -> State:
    """The state, or an error at ϑ ≥ c, where δ grows backward in time and no natural condition can hold it."""
    known = not isinstance(theta, jax.core.Tracer) and not isinstance(speed, jax.core.Tracer)
    shown = f" (theta = {float(jnp.max(theta)):.6g}, speed = {float(speed):.6g})" if known else ""
    return require(
        state,
        theta < speed,
        f"the boundary-value problem needs theta < speed{shown}: from t₁ backward δ decays at the rate c − ϑ, and "
        'grows without bound at ϑ >= c. There costate="forward" is a stable initial-value problem: use ll.simulate, or '
        "raise speed.",
    )
