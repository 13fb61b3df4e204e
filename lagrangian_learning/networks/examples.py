"""Networks that the paper writes out."""

from .activations import Activation
from .digraph import Digraph


def xor_network(activation: Activation = "tanh", output_activation: Activation | None = None) -> Digraph:
    """The paper's network for the XOR predicate (section 3): five neurons, 1 and 2 the inputs, 5 the output.

        G1 = x1 - e1
        G2 = x2 - e2
        G3 = x3 - sigma(w31 x1 + w32 x2)
        G4 = x4 - sigma(w41 x1 + w42 x2)
        G5 = x5 - sigma(w53 x3 + w54 x4)

    The paper counts neurons from one, the edges from zero. W = [w31, w32, w41, w42, w53, w54] and x = [x1, …, x5]. The
    same network is `Layered((2, 2, 1))` with W = ([[w31, w32], [w41, w42]], [[w53, w54]]).

    Arguments:
        activation: σ, a name of `ACTIVATIONS` or an elementwise callable.
        output_activation: that of the output; None: `activation` too.
    """
    edges = ((0, 2), (1, 2), (0, 3), (1, 3), (2, 4), (3, 4))
    return Digraph(5, edges, 2, 1, activation, output_activation)


SIZES = (3, 8, 8, 8, 8, 8, 8, 8, 8, 2)
"""The network of the figures of waves: ten levels 0 … 9, nine layers of weights."""
