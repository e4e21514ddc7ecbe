"""Describe work that is priced on several models, as `bursar prices --compare --task` reads it."""

from typing import Final

WORK: Final = """\
calls = 12
input_tokens = 3_000
cached_percent = 80
output_tokens = 350
[models."gpt-4o-mini"]
[models."claude-haiku-4-5"]
input_percent = 115
output_tokens = 420
[models."gpt-5-mini"]
reasoning_tokens = 600
tier = "flex"
"""
