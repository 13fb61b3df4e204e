"""Claims of the paper as measurements: how each is made, and what was found."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar

Verdict = Literal["holds", "holds with a condition", "erratum"]
T = TypeVar("T")
ERRATA = "docs/errata.md"


class Measured(NamedTuple):
    """What a measuring function returns.

    residual: the one number that is compared with the tolerance of its check.
    details: named numbers for readers, among them what a printed form that errs is off by.
    demands: what else must be so if the claim is to behave as documented: in words -> whether it is.
    """

    residual: float
    details: dict[str, float]
    demands: dict[str, bool]


class Shared:
    """Computations that several checks need, each made once, when it is first asked for."""

    def __init__(self) -> None:
        self._made: dict[Callable[..., Any], Any] = {}

    def __call__(self, make: Callable[["Shared"], T]) -> T:
        """make(self), or what an earlier call of it has returned."""
        if make not in self._made:
            self._made[make] = make(self)
        return self._made[make]


@dataclasses.dataclass(frozen=True)
class Claim:
    """One claim of the paper as a measurement.

    Fields:
        name: a short slug, for `ll.verify.claim(name)`.
        equations: the labels of what it is about, as "10", "Proposition 1", "Figure 2", "Erratum 1".
        claim: what the paper says, in one sentence.
        method: how it is measured, two ways that share no code.
        verdict: what is documented: "holds", "holds with a condition", or "erratum".
        tolerance: the largest residual that agrees with the verdict.
        measured_by: the function that measures.
        remark: the condition, or the correct form; `reference` leads to its explanation.
    """

    name: str
    equations: tuple[str, ...]
    claim: str
    method: str
    verdict: Verdict
    tolerance: float
    measured_by: Callable[[Shared], Measured] = dataclasses.field(repr=False)
    remark: str = ""

    def __post_init__(self) -> None:
        if self.verdict != "holds" and not self.remark:
            raise ValueError(f"check {self.name}: a verdict other than “holds” needs its remark.")
        # `help` of a claim shows what is claimed, not what a `Claim` is.
        shown = f"{self.claim}\n\nMeasured: {self.method}"
        object.__setattr__(self, "__doc__", f"{shown}\n\nRemark: {self.remark}" if self.remark else shown)

    @property
    def reference(self) -> str | None:
        """The place in the documentation that explains the verdict; None where the claim simply holds."""
        numbered = [label for label in self.equations if label.startswith(("Erratum", "Remark"))]
        return f"{ERRATA}#{numbered[0].lower().replace(' ', '-')}" if numbered else None

    def measure(self, shared: Shared | None = None) -> "Finding":
        """Measures the claim; x64 must be on.

        Arguments:
            shared: what other checks have computed already; None starts afresh.

        Raises ValueError when JAX's x64 switch is off, and whatever the measured code raises.
        """
        require_x64()
        start = time.perf_counter()
        residual, details, demands = self.measured_by(Shared() if shared is None else shared)
        details = {name: float(number) for name, number in details.items()}
        demands = {name: bool(met) for name, met in demands.items()}
        return Finding(self, float(residual), details, demands, time.perf_counter() - start)


def as_claim(
    *equations: str, claim: str, method: str, tolerance: float, verdict: Verdict = "holds", remark: str = ""
) -> Callable[[Callable[[Shared], Measured]], Claim]:
    """Makes a measuring function the `Claim` of its name, dashes in the place of underscores.

    Arguments:
        equations, claim, method, tolerance, verdict, remark: the fields of `Claim`.
    """

    def made(measured_by: Callable[[Shared], Measured]) -> Claim:
        name = measured_by.__name__.replace("_", "-")
        return Claim(name, equations, claim, method, verdict, tolerance, measured_by, remark)

    return made


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a check found; prints itself.

    Fields:
        check: the `Claim`.
        residual: one number, to compare with `check.tolerance`; NaN when the measurement failed.
        details: further numbers by name.
        demands: what else must be so: in words -> whether it is.
        seconds: how long it took, compilation included.
        error: what the measured code raised, where `verify` went on without it.
    """

    check: Claim
    residual: float
    details: dict[str, float]
    demands: dict[str, bool]
    seconds: float
    error: str | None = None

    @property
    def as_documented(self) -> bool:
        """Whether the residual is within tolerance and every demand is met."""
        return self.residual <= self.check.tolerance and all(self.demands.values())

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the claim does not behave as documented; empty where it does."""
        if self.error is not None:
            return (f"the measurement failed: {self.error}",)
        unmet = [f"not so: {demand}" for demand, met in self.demands.items() if not met]
        if not self.residual <= self.check.tolerance:
            unmet.insert(0, f"residual {self.residual:.1e} over the tolerance {self.check.tolerance:.0e}")
        return tuple(unmet)

    def __str__(self) -> str:
        check = self.check
        rows = [
            ("check", check.name),
            ("about", ", ".join(check.equations)),
            ("claim", check.claim),
            ("measured", check.method),
            ("verdict", check.verdict),
            ("remark", check.remark),
            ("residual", f"{self.residual:.2e}, tolerance {check.tolerance:.0e}"),
            *((f"  {name}", f"{number:.6g}") for name, number in self.details.items()),
            ("behaves", "as documented" if self.as_documented else "NOT AS DOCUMENTED: " + "; ".join(self.reasons)),
        ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows if value)


def require_x64() -> None:
    """ValueError unless JAX computes in float64."""
    import jax.numpy as jnp

    if jnp.result_type(float) != jnp.float64:
        raise ValueError(
            "verify measures in float64, and JAX's x64 switch is off: call "
            "jax.config.update('jax_enable_x64', True) before anything else."
        )
