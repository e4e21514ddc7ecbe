"""Score sentences by how central they are to their text, where no question says what is needed."""

import numpy as np

from bursar.savings.compress.common_words import STOP_WORDS, WORD
from bursar.savings.compress.evidence import Floats, Text
from bursar.savings.compress.words import stem


def central(text: Text) -> Floats:
    """Return for each sentence how much of what the whole speaks of it says, as log odds; first ones count more."""
    said = [{stem(word) for word in WORD.findall(each.lower()) if word not in STOP_WORDS} for each in text.sentences]
    times: dict[str, int] = {}
    for words in said:
        for word in words:
            times[word] = times.get(word, 0) + 1
    shared = np.array([sum(times[word] - 1 for word in words) / (len(words) + 5) for words in said])
    scale = float(shared.max(initial=0)) or 1.0
    opens = np.diff(text.passage, prepend=-1) > 0
    return 4 * shared / scale - 3 + opens
