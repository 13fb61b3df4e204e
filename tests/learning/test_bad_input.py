"""What does not fit is refused by name and with its remedy, before any step is taken."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll

NETWORK = ll.Layered((2, 2, 1))
# 2 ↔ 3 is a loop; a tanh loop with both weights 1 at x = 0 loses rank (docs/theory.md §5).
LOOP = ll.Digraph(5, ((0, 2), (1, 3), (2, 3), (3, 2), (3, 4)), 2, 1)
GOOD = ll.Stimulus(jnp.array([0.5, -0.3]), jnp.array([0.2]))
MOVING = ll.Stimulus(ll.Sinusoids(jnp.array([1.0, 2.0])), jnp.array([0.2]))
WEIGHTS = (jnp.array([[0.5, -0.8], [0.3, 1.1]]), jnp.array([[-0.6, 0.9]]))
TS = jnp.linspace(0.0, 1.0, 3)


def action(**settings):
    return ll.CognitiveAction(**{"network": NETWORK} | settings)


def start(W=WEIGHTS, stimulus=GOOD, W_dot=None, coordinates="reduced", **settings):
    return action().law(coordinates).initial_state(0.0, W, W_dot, stimulus, **settings)


@pytest.fixture(autouse=True)
def _as_a_user(unchecked):
    """The package's own errors, not those of the type checker that only the tests install."""


# -- the action --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mass_W": 0.0}, r"mass_W must be finite and > 0: weights without mass follow"),
        ({"mass_W": -1.0}, "mass_W must be finite and > 0"),
        ({"mass_W": np.nan}, "mass_W must be finite and > 0"),
        ({"mass_W": np.inf}, "mass_W must be finite and > 0"),
        ({"mass_x": -1e-9}, "mass_x must be finite and >= 0"),
        ({"mass_x": np.nan}, "mass_x must be finite and >= 0"),
        ({"mass_x": np.inf}, "mass_x must be finite and >= 0"),
        ({"mass_x": [0.1, 0.2]}, "mass_x must be one number"),
        ({"mass_W": np.ones((1, 1))}, "mass_W must be one number"),
        ({"network": (2, 2, 1)}, "network must be a network such as"),
        ({"potential": 3.0}, r"potential must be callable, got float: it is V\(x_out, y\)"),
        ({"dissipation": 1.0}, "dissipation must be a dissipation such as ll.ExponentialDissipation"),
        ({"terms": [lambda *_: 0.0]}, "terms must be ll.Term modules: wrap each function as ll.Term"),
        ({"terms": 3}, "terms must be ll.Term modules"),
    ],
)
def test_constants_and_parts_of_an_action(settings, message):
    with pytest.raises(ValueError, match=message):
        action(**settings)


@pytest.mark.parametrize("theta", [-1.0, np.nan, np.inf])
def test_rates_of_dissipation(theta):
    with pytest.raises(ValueError, match=r"theta must be finite and >= 0.*ScheduledDissipation"):
        ll.ExponentialDissipation(theta)


@pytest.mark.parametrize("order", [3, -1, "2"])
def test_orders_of_a_term(order):
    with pytest.raises(ValueError, match="order must be one of 0, 1, 2"):
        ll.Term(lambda *_: 0.0, order=order)


@pytest.mark.parametrize("rate", [-0.1, np.nan, np.inf])
def test_rates_of_weight_decay(rate):
    with pytest.raises(ValueError, match="rate must be finite and >= 0"):
        ll.WeightDecay(rate)


@pytest.mark.parametrize("settings", [{"mass_W": 0.0}, {"mass_x": -1.0}])
def test_masses_that_are_traced_are_refused_when_they_run(settings):
    ((name, value),) = settings.items()

    def energy(mass):
        law = action(**{name: mass}).law()
        return law.energy(0.0, law.initial_state(0.0, WEIGHTS, WEIGHTS, GOOD), GOOD)

    with pytest.raises(RuntimeError, match=f"{name} must be finite and >"):
        jax.jit(energy)(value)


# -- the law -----------------------------------------------------------------------------------------------------------


def test_names_of_coordinates():
    with pytest.raises(ValueError, match="coordinates must be one of None, 'reduced', 'full', got 'minimal'"):
        action().law("minimal")


def test_reduced_coordinates_on_a_cycle():
    with pytest.raises(ValueError, match=r'feedforward network.*use coordinates="full"'):
        action(network=LOOP).law("reduced")


def test_structured_solvers_with_terms_that_may_change_the_inertia():
    term = ll.Term(lambda t, x, x_dot, x_ddot, W, W_dot, W_ddot, s: W_dot[0][0, 0] ** 2)
    with pytest.raises(ValueError, match=r"use ll.multipliers.DenseSaddlePoint\(\), or declare order=0"):
        action(terms=term).law(multiplier_solver=ll.multipliers.NetworkSchur())


@pytest.mark.parametrize(
    ("network", "speed", "solver", "message"),
    [
        (LOOP, None, ll.multipliers.ConjugateGradients(), r"feedforward.*ll.multipliers.NetworkSchur"),
        (ll.networks.xor_network(), None, ll.multipliers.BlockTridiagonal(), "for ll.Layered networks only"),
        (NETWORK, 3.0, ll.multipliers.ConjugateGradients(), "does not solve an action with a speed"),
        (NETWORK, None, ll.multipliers.FiniteSpeedMultipliers(), "does not solve an action without a speed"),
        (NETWORK, None, "dense", "multiplier_solver must be a solver of ll.multipliers"),
    ],
)
def test_solvers_that_cannot_serve_an_action(network, speed, solver, message):
    with pytest.raises(ValueError, match=message):
        action(network=network, speed=speed).law(multiplier_solver=solver)


def test_a_solver_of_networks_on_other_mechanics():
    law = ll.EulerLagrange(
        ll.Lagrangian(lambda t, q, v, a: v @ v / 2),
        ll.Holonomic(lambda t, q, a: q @ q - 1),
        multiplier_solver=ll.multipliers.ConjugateGradients(),
    )
    with pytest.raises(ValueError, match=r"ConjugateGradients solves the equations of a network.*DenseSaddlePoint"):
        law.accelerations(0.0, ll.State(jnp.array([1.0, 0.0]), jnp.zeros(2)))


# -- Cauchy data -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("W", "message"),
    [
        ((jnp.ones((2, 3)), jnp.ones((1, 2))), r"weights of Layered\(\(2, 2, 1\)\): expected shapes"),
        ((jnp.ones((2, 2)),), "expected shapes"),
        (jnp.ones(6), r"tuple of \[n_out, n_in\] matrices"),
        (None, "expected shapes"),
        ((jnp.ones((2, 2), int), jnp.ones((1, 2), int)), "expected one floating dtype, got int64"),
        ((jnp.ones((2, 2), jnp.float32), jnp.ones((1, 2))), "expected one floating dtype"),
        ((jnp.full((2, 2), jnp.nan), jnp.ones((1, 2))), "NaN or infinity; give finite values"),
        ((jnp.ones((2, 2)), jnp.array([[jnp.inf, 1.0]])), "NaN or infinity"),
    ],
)
def test_weights_and_their_velocities(W, message):
    with pytest.raises(ValueError, match=message):
        start(W)
    if W is not None:
        with pytest.raises(ValueError, match=message):
            start(W_dot=W)


def test_velocities_of_another_dtype_are_cast():
    state = start(W_dot=jax.tree.map(lambda w: w.astype(jnp.float32), WEIGHTS))
    assert state.v[0].dtype == jnp.float64


def values(shape, bad=1.0):
    return jnp.ones(shape).at[..., -1].set(bad)


@pytest.mark.parametrize("coordinates", ["reduced", "full"])
@pytest.mark.parametrize(
    ("stimulus", "message"),
    [
        ((lambda t: jnp.ones(3), values(1)), r"network has 2 input neurons.*shape \(2,\), but it has shape \(3,\)"),
        ((values((4, 2)), values(1)), r"for a batch use jax.vmap"),
        ((values(2), values(2)), r"outputs have shape \(1,\) and the target \(2,\): give one target value an output"),
        ((values(2), jnp.asarray(0.2)), r"outputs have shape \(1,\) and the target \(\)"),
        ((lambda t: jnp.where(t < 1, jnp.nan, jnp.ones(2)), values(1)), r"NaN or inf.*stimulus.input\(t0\)"),
        ((values(2), lambda t: jnp.full(1, jnp.inf) * (1 + t)), r"NaN or inf"),
        ((ll.Sampled(jnp.arange(1.0, 7.0), jnp.ones((6, 2))), values(1)), "times at which the stimulus is defined"),
    ],
)
def test_stimuli_that_do_not_fit(coordinates, stimulus, message):
    with pytest.raises(ValueError, match=message):
        start(stimulus=ll.Stimulus(*stimulus), coordinates=coordinates)


@pytest.mark.parametrize("args", [None, jnp.ones(2), (GOOD.input, GOOD.target)])
def test_what_is_no_stimulus(args):
    with pytest.raises(ValueError, match=r"driven by an ll.Stimulus\(input=…, target=…\), given as args"):
        start(stimulus=args)


def test_signals_of_a_stimulus():
    with pytest.raises(ValueError, match="NaN or inf"):
        ll.Stimulus(jnp.array([1.0, jnp.nan]), jnp.array([0.2]))
    with pytest.raises(ValueError, match="input: a signal must be real numbers, got str"):
        ll.Stimulus("speech", jnp.array([0.2]))


def test_broadcasting_targets_in_cross_entropy():
    law = action(potential=ll.CrossEntropy()).law()
    with pytest.raises(ValueError, match=r"the target \(3,\): give a distribution over the outputs"):
        law.initial_state(0.0, WEIGHTS, args=ll.Stimulus(GOOD.input, jnp.ones(3)))


def test_a_potential_that_is_no_scalar():
    law = action(potential=lambda x, y: (x - y) ** 2).law()
    with pytest.raises(ValueError, match=r"a potential must return a scalar, got shape \(1,\): sum over the outputs"):
        law.initial_state(0.0, WEIGHTS, args=GOOD)


@pytest.mark.parametrize(
    ("stimulus", "W_dot"),
    [(MOVING, None), (GOOD, WEIGHTS)],
)
def test_cauchy_data_of_the_paper_ask_for_rest(stimulus, W_dot):
    with pytest.raises(
        ValueError, match=r'\(11\) of the paper.*Use cauchy="general", or a stimulus that starts at rest'
    ):
        start(stimulus=stimulus, W_dot=W_dot, cauchy="paper")


def test_cauchy_data_of_the_paper_at_rest():
    state = start(
        stimulus=ll.Stimulus(lambda t: jnp.cos(t) * jnp.ones(2), GOOD.target), cauchy="paper", coordinates="full"
    )
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(state.v))


def test_settings_of_a_start():
    with pytest.raises(ValueError, match="cauchy must be one of 'general', 'paper', got 'newest'"):
        start(cauchy="newest")
    with pytest.raises(ValueError, match="a first-order action determines its accelerations: leave a and j out"):
        start(a=WEIGHTS)
    for law in (action().law(), ll.DampedDescent(NETWORK), ll.GradientFlow(NETWORK), ll.BackpropDiffusion(NETWORK)):
        with pytest.raises(ValueError, match="give the stimulus by name, args=stimulus"):
            law.initial_state(0.0, WEIGHTS, GOOD)


def test_a_signal_that_is_not_smooth_enough():
    class Kinked(ll.signals.AbstractSignal):
        smoothness = 0
        domain = None

        def __call__(self, t):
            return jnp.abs(t) * jnp.ones(2)

    with pytest.raises(ValueError, match="differentiates the input 2 times in t, but the Kinked is only C0"):
        start(stimulus=ll.Stimulus(Kinked(), GOOD.target))


@pytest.mark.slow
def test_a_singular_cycle_at_the_start():
    """u = 0 holds x at 0, where the slope is 1: a loop of weights w and 1/w is singular, and no input reaches it."""
    law = action(network=LOOP).law("full")
    rest = ll.Stimulus(jnp.zeros(2), GOOD.target)

    def begin(there, back):
        return law.initial_state(0.0, jnp.array([0.4, 0.3, there, back, 0.5]), args=rest)

    with pytest.raises(RuntimeError, match=r"no x with x = sigma\(Wx\) found.*use smaller weights on its cycles"):
        begin(1.0, 1.0)
    with pytest.raises(RuntimeError, match=r"lose rank on the cycle through neurons 2, 3.*Move x or W off this point"):
        begin(1.0, np.nextafter(1.0, 0.0))  # regular enough for Newton's method, which starts at the root
    begin(1.0, 0.5)


def test_terms_that_leave_accelerations_undetermined():
    """−½ m_W Ẇ₀₀² takes the mass of one weight away."""
    term = ll.Term(lambda t, x, x_dot, x_ddot, W, W_dot, W_ddot, s: -(W_dot[0][0, 0] ** 2) / 2, weighted=True)
    for coordinates in ("reduced", "full"):
        law = action(terms=term, mass_x=0.0).law(coordinates)
        with pytest.raises(ValueError, match=r"singular at the start.*Give a mass to every coordinate"):
            law.initial_state(0.0, WEIGHTS, args=GOOD)


# -- a run -------------------------------------------------------------------------------------------------------------


def test_states_that_belong_to_another_law():
    law = action().law("full")
    reduced = start()
    with pytest.raises(ValueError, match=r"expected shapes|not a state of this law"):
        ll.simulate(law, reduced, TS, GOOD)
    with pytest.raises(ValueError, match="not a state of this law"):
        ll.simulate(law, WEIGHTS, TS, GOOD)
    with pytest.raises(ValueError, match="expected shapes"):
        ll.simulate(action().law(), start(coordinates="full"), TS, GOOD)


def test_a_run_without_its_stimulus():
    with pytest.raises(ValueError, match=r"driven by an ll.Stimulus"):
        ll.simulate(action().law(), start(), TS)


def sampled(end):
    return ll.Stimulus(ll.Sampled(jnp.linspace(0.0, end, 6), jnp.ones((6, 2))), GOOD.target)


def test_bad_values_that_are_known_are_refused_before_a_run():
    nan = eqx.tree_at(lambda s: s.q[0], start(), jnp.full((2, 2), jnp.nan))
    with pytest.raises(ValueError, match=r"weights of Layered.*NaN or infinity; give finite values"):
        ll.simulate(action().law(), nan, TS, GOOD)
    with pytest.raises(ValueError, match=r"times at which the stimulus is defined \(0 to 0.8\): begin and end ts"):
        ll.simulate(action().law(), start(), TS, sampled(0.8))


@pytest.mark.slow
def test_bad_values_that_are_traced_end_a_run_by_name():
    """NaN in the weights, and an input that ends before the run does; compiled once."""
    law, good = action().law(), start()
    nan = eqx.tree_at(lambda s: s.q[0], good, jnp.full((2, 2), jnp.nan))

    @jax.jit
    def run(state, stimulus):
        return ll.simulate(law, state, TS, stimulus, solver=diffrax.Heun(), dt0=0.05, throw=False)

    path = run(nan, sampled(1.0))
    assert path.result == ll.RESULTS.non_finite
    assert int(path.stats["num_steps"]) == 0
    path = run(good, sampled(0.8))
    assert path.result == ll.RESULTS.refused_start
    assert int(path.stats["num_steps"]) == 0
    assert run(good, sampled(1.0)).result == ll.RESULTS.successful


@pytest.mark.slow
def test_a_stimulus_that_ends_too_soon_is_an_error_under_jit():
    run = jax.jit(lambda stimulus: ll.simulate(action().law(), start(), TS, stimulus, solver=diffrax.Heun(), dt0=0.05))
    with pytest.raises(RuntimeError, match="leaves the times at which the stimulus is defined: begin and end ts"):
        run(sampled(0.8))


LAWS = {
    "reduced": lambda: action().law(),
    "full": lambda: action().law("full"),
    "finite speed": lambda: action(speed=3.0, dissipation=ll.ExponentialDissipation(9.0)).law(),
    "damped descent": lambda: ll.DampedDescent(NETWORK),
    "gradient flow": lambda: ll.GradientFlow(NETWORK),
    "diffusion": lambda: ll.BackpropDiffusion(NETWORK),
}
ALIKE = {"reduced": "damped descent", "damped descent": "reduced"}  # both move (W, Ẇ)


@pytest.mark.parametrize("made", LAWS)
@pytest.mark.parametrize("given", LAWS)
def test_a_state_of_another_law(made, given):
    state = LAWS[made]().initial_state(0.0, WEIGHTS, args=GOOD)
    if made == given or ALIKE.get(made) == given:
        return
    with pytest.raises(ValueError, match=r"not a state of this law|expected shapes"):
        LAWS[given]().check(jnp.array([0.0, 1.0]), state, GOOD)


def test_a_label_is_no_distribution():
    with pytest.raises(ValueError, match=r"a label k is one-hot, jax.nn.one_hot"):
        ll.CrossEntropy()(jnp.ones(3), jnp.asarray(2))
