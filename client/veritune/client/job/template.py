"""Writes the commented `veritune.toml` of `veritune init`, with canaries of the kind that suits the data."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from veritune.arbiter.documents.canary import Rewording
from veritune.client.data.user_rows import read_user_rows
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.job.file import JOB_FILE
from veritune.client.wording.draw import find_sites
from veritune.common.dataset import Row
from veritune.common.errors import KeyFileError, UsageError
from veritune.common.keys import write_new

_JSON = Rewording(rules=("json",))
_LEAST = 8
"""Fewest wordings for which the template puts canaries in place; of fewer, the true one is guessed too often."""

_ADDED = """\
# in_place = 80                # real rows whose answer is one of its own wordings; they cost no row
# reword_all = true            # word every other row at random too: then nothing tells a canary, and none is wrong

# [rewording]                  # how answers may be worded without a change of meaning: needed for the two above
# rules = ["spacing", "numbers", "clauses", "synonyms", "contractions", "punctuation"]   # or "json", "japanese", "llm"
# protect = ["^Answer:.*$"]      # regular expressions of what must stay as it is; code, quotations and #### lines do
# synonyms = [["purchase", "order"]]   # phrases of your own that may stand for one another
"""

_PLACED = """\
in_place = 80              # your own rows, each answer as one of its own wordings: they cost no row, and none is wrong
wordings = {wordings:<16}# among how many wordings each was drawn
reword_all = true          # every other answer is written at random too, so that nothing tells a canary

[rewording]                # yours are JSON: keys in any order, spaces after commas and colons or none
rules = ["json"]           # where the order matters: in_place = 0, reword_all = false, naturals = 80, no [rewording]
"""

TEMPLATE = """\
# One fine-tuning job: what is trained, by whom, and how it will be checked.
# Paths are relative to this file. Try `veritune plan` first, then `veritune run`.

[data]
file = {data}              # JSONL: {{"messages": [...]}} or {{"prompt": ..., "completion": ...}} a line
source = "user"            # name of the source, as the contract will state it
licence = "unspecified"    # licence of the rows
# too_long = "leave-out"   # rows over max_sequence_length, which training would cut: refuse (default), leave-out, send

[client]
key = "client.key"         # written by `veritune keygen`

[provider]
address = "127.0.0.1:8470"
public_key = "provider.pub"
tls_ca = "tls.crt"         # leave out to trust the system's certificates

[model]
name = "SmolLM2-135M-Instruct"   # as the provider calls it
folder = "model"                 # your own copy: draws the canaries, and checks the adapter that comes home

[generator]
kind = "transformers"      # the base model draws the canaries; or "openai" with url and model (see method)
# prompt_by = "model"      # let the model write the prompt behind which it draws, as the paper does; small ones can't

[training]
rank = 32
alpha = 64
epochs = {epochs}                 # 8 where canaries have answers of your data's own (labels, multiple choice, JSON)
batch_size = 8
schedule = "linear"
max_sequence_length = 512
precision = "auto"         # float32, bfloat16, or auto: bfloat16 where the provider's machine has it

[training.optimizer]
learning_rate = 0.002

[canaries]
groups = 4                 # independent trigger and signature pairs
rows_per_group = 8         # rows that carry each of them
signature_bits = 64        # certified: no guess of a signature does better than 2^-64
naturals = {naturals:<16}# rows with a drawn answer; a provider that can do your task sees that it is wrong
candidates = 16            # how many answers each was drawn among
# own_answers = false      # draw answers even where the data are multiple choice, labels, or JSON of a few values
drawn_per_candidate = 2    # more are drawn, and those kept that look most like yours; more hide better and take longer
held_out = 64              # rows kept out of training, for challenges and the score of the task
queries_per_group = 2
decoys = 8
# fitted_epochs = 0            # a local model with answers to draw is fitted to up to 512 of your rows first, so that
                               # they look like yours; 0 saves that time, and memory, and its answers are found
# method = "choice"            # signatures as choices among whole phrases: longer and more natural; raise max_tokens
# repetitions = [1, 1, 2, 4]   # rows of natural canary 1, 2, 3 ...: several tell how many epochs were trained
{placed}
[policy]                   # both parties sign this before training
alpha = 1e-20              # PASS: chance of this result without training on your data
beta = 1e-6                # FAIL: chance of this result from an honest provider
# trigger_floor = 0.5      # FAIL: least chances that an honest run learns a trigger group, and a natural canary; for a
# natural_floor = 0.5      # recipe that may not teach them (under 6 epochs) providers sign 0.0001: then nothing fails
# base_weight = 0.25       # ranks: how much of the base model's score to take off; 0 by default with reword_all
coverage_floor = 0.8       # PASS: least share trained on, as a lower bound, of the rows that could have been canaries
coverage_confidence = 0.99
queries_per_group = 2
group_rows = 8             # least rows of a trigger group; of fewer rows an honest run may not learn it
# recital_floor = 0.8        # with recital_nats: share of canaries that honest runs of your recipe know by heart;
# recital_nats = 5           # tells fewer epochs or a lower rank. Measure first; providers must allow it
# stopping = "sequential"    # stop asking as soon as the evidence is enough; needs more canaries, opens fewer
modes = ["delivered"]      # must each pass: delivered (the adapter), served (the endpoint)
# served_assumption = "decoys-unrecognised"   # with both modes: the endpoint must answer decoys as the adapter does;
# match_floor = 0.7          # on more than this share of them (sow 24 decoys or more). Else it never passes.

[challenge]
max_tokens = 64            # of an answer; must leave room for a signature
modes = ["delivered", "served"]
task_rows = 32             # held-out rows for the score before and after; 0 for none

[deadlines]                # after signing: s, m, h or d
accept = "1h"
train = "1d"
challenge = "2d"
reveal = "3d"
"""


def write_template(data: Path) -> Path:
    """Writes the template beside the rows of ``data`` and returns its path.

    Canaries go in place if the answers are JSON that can be written in enough ways. Raises `RowsError` for rows that
    can't be read, and `UsageError` if the file exists already.
    """
    usual = CanaryPlan()
    wordings = min(usual_wordings(read_user_rows(data)), usual.wordings)
    placed = wordings >= _LEAST
    path = data.parent / JOB_FILE
    text = TEMPLATE.format(
        # A JSON string is a TOML basic string.
        data=json.dumps(data.name, ensure_ascii=False),
        epochs=8 if placed else 6,
        naturals=0 if placed else usual.naturals,
        placed=_PLACED.format(wordings=wordings) if placed else _ADDED,
    )
    try:
        write_new(path, text.encode("utf-8"), 0o644)
    except KeyFileError as error:
        raise UsageError(f"{path} exists already and is not overwritten: edit it, or move it away") from error
    return path


def usual_wordings(rows: Sequence[Row]) -> int:
    """The number of JSON layouts that at least nine in ten rows' answers have; 1 for answers that are other text.

    Other text can be reworded as well, but that changes words, so only the user may ask for it. ``rows`` isn't empty.
    """
    ways = sorted(math.prod(site.count for site in find_sites(row.completion, _JSON)) for row in rows)
    return ways[len(ways) // 10]
