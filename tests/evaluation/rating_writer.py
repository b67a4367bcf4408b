"""Votes as fast as it can, for tests of many writers: FOLDER RATER COUNT; says each vote when it is kept."""

from __future__ import annotations

import sys
from pathlib import Path

from workbench.evaluation.ratings.scale import scale_of
from workbench.evaluation.ratings.store import RatingStore

if __name__ == "__main__":
    folder, rater, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    store = RatingStore(folder)
    store.ask("Is it good?", scale_of("pass/fail"))
    for number in range(count):
        item = f"{rater}-{number}"
        store.vote(
            "Is it good?",
            rater=rater,
            item=item,
            answers=(item,),
            value="pass",
            score=1.0,
            example_id=str(number),
            calls=(item,),
        )
        print(item, flush=True)
