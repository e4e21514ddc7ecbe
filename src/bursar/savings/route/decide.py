"""Decide in the way a policy names, as one flow whatever that is."""

from bursar.savings.route.cascade import cascaded
from bursar.savings.route.choice import Asked
from bursar.savings.route.choose import NO_CORRECTIONS, Route, choose
from bursar.savings.route.flow import Flow
from bursar.savings.route.judge import judged
from bursar.savings.route.policy import By
from bursar.savings.route.predictor import Corrections


def decide(route: Route, asked: Asked, unit: str = "", corrections: Corrections = NO_CORRECTIONS) -> Flow:
    """Return the choice for a call; what judges or cascades wishes for something first."""
    if route.policy.by is By.judged:
        return (yield from judged(route, asked, unit))
    if route.policy.by is By.cascaded:
        return (yield from cascaded(route, asked, unit))
    return choose(route, asked, unit, corrections)
