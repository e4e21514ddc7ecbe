"""Set up working points: a model on chips, a traffic, terms."""

from bursar.core.money import usd_to_nano
from bursar.physics.calibration import ROOFLINE
from bursar.physics.cost import Owned, Rented, Terms
from bursar.physics.deployment import Deployment
from bursar.physics.facts import load
from bursar.physics.floor import Plan, Store
from bursar.physics.serving import Promise, Traffic

FACTS = load()
RENTED = Rented(usd_to_nano("1.30"))
OWNED = Owned(usd_to_nano("42000"))


def plan(model: str = "Meta-Llama-3.1-70B", chips: int = 4, chip: str = "H100", weights: str = "bf16") -> Plan:
    """Set up a working point at 0.10 USD a kWh, a PUE of 1.15 and 40 % utilisation, rented."""
    return Plan(
        Deployment(FACTS.shape(model), FACTS.chip(chip), chips, chips, weights=weights),
        Traffic(1_000, 300),
        Promise(),
        Terms(RENTED, usd_to_nano("0.10"), 1.15, 0.4),
        Store(FACTS.costs.memory.nano),
        ROOFLINE,
        FACTS.energy,
    )
