"""Weight gradients of predictive coding by FabricPC (github.com/trueagi-io/FabricPC), for comparison."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

import lagrangian_learning as ll


def gradients(
    network: ll.Layered, W: Sequence[Array], u: Array, y: Array, kappa: float, rate: float, steps: int
) -> Callable[[], PyTree]:
    """Gradients by gradient descent on the neurons, `steps` of length rate/κ; summed over the batch, like W.

    Hidden neurons have the precision κ, outputs the precision 1 at clamped targets; inputs are clamped.
    Raises ModuleNotFoundError where FabricPC is not installed.
    """
    from fabricpc.core import activations, energy, inference, learning, topology, types  # pyright: ignore[reportMissingImports]
    from fabricpc.graph_assembly import graph_construction  # pyright: ignore[reportMissingImports]
    from fabricpc.graph_initialization import params_initializer, state_initializer  # pyright: ignore[reportMissingImports]
    from fabricpc.nodes import identity, linear  # pyright: ignore[reportMissingImports]

    source = identity.IdentityNode(shape=(network.sizes[0],), name="x0")
    nodes: list[Any] = [source]
    for layer, size in enumerate(network.sizes[1:], start=1):
        last = layer == len(network.sizes) - 1
        nodes.append(
            linear.Linear(
                shape=(size,),
                name=f"x{layer}",
                activation=activations.TanhActivation(),
                energy=energy.GaussianEnergy(precision=1.0 if last else kappa),
                use_bias=False,
            )
        )
    structure = graph_construction.graph(
        nodes=nodes,
        edges=[topology.Edge(a, b) for a, b in itertools.pairwise(nodes)],
        task_map=graph_construction.TaskMap(x=nodes[0], y=nodes[-1]),
        inference=inference.InferenceSGD(eta_infer=rate / kappa, infer_steps=steps),
    )
    params = params_initializer.initialize_params(structure, jax.random.key(0))
    given = dict(params.nodes)
    for layer, matrix in enumerate(W, start=1):
        node = given[f"x{layer}"]
        (edge,) = node.weights
        given[f"x{layer}"] = types.NodeParams(weights={edge: matrix.T}, biases=node.biases)
    params = types.GraphParams(nodes=given)
    clamps = {"x0": u, nodes[-1].name: y}

    @jax.jit
    def found(params: Any, clamps: dict[str, Array]) -> tuple[Array, ...]:
        key = jax.random.key(0)
        state = state_initializer.initialize_graph_state(structure, len(u), key, clamps=clamps, params=params)
        state = inference.run_inference(params, state, clamps, structure)
        by_node = learning.compute_local_weight_gradients(params, state, structure).nodes
        layers = range(1, len(network.sizes))
        return tuple(jnp.transpose(next(iter(by_node[f"x{layer}"].weights.values()))) for layer in layers)

    return lambda: found(params, clamps)
