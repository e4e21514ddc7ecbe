"""Name what work, outcomes and statements are sorted by: the words of the books and of the API."""

from enum import StrEnum


class ChargeKind(StrEnum):
    """Name the kinds of work."""

    retrieval = "retrieval"
    tool = "tool"
    safety = "safety"
    logging = "logging"
    person = "person"
    other = "other"


class OutcomeKind(StrEnum):
    """Name who or what says how good an answer was."""

    thumbs = "thumbs"  # a person
    tests = "tests"  # tests that passed, or their share
    resolved = "resolved"  # the case behind it was closed
    score = "score"  # a grader


class By(StrEnum):
    """Name what a statement is grouped by."""

    model = "model"
    key = "key"
    tag = "tag"
    run = "run"
    day = "day"
    hour = "hour"
    charge = "charge"  # kinds of work that is no call
