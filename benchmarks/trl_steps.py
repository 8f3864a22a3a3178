"""TRL's GRPO trainer for a few steps, in a process of its own, which prints how long each took.

Run by `benchmarks.against_trl`; the only file that imports TRL, which is installed apart: see requirements/bench.txt.
"""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from trl import GRPOConfig, GRPOTrainer


class Ends(TrainerCallback):
    """When each step was over."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Called by the trainer."""
        self.at.append(time.perf_counter())


def main() -> None:
    """Reads what to do as JSON from standard input."""
    job = json.load(sys.stdin)
    torch.set_num_threads(job["threads"])
    tokenizer = PreTrainedTokenizerFast.from_pretrained(job["model"])
    lengths: list[int] = []

    def reward(completion_ids: Sequence[Sequence[int]], **_: Any) -> list[float]:
        """Costs nothing, and differs within a group."""
        lengths.append(sum(map(len, completion_ids)))
        return [float(index % 2) for index in range(len(completion_ids))]

    ends = Ends()
    batch = job["groups"] * job["group_size"]
    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32),
            reward_funcs=reward,
            args=GRPOConfig(
                output_dir=folder,
                per_device_train_batch_size=batch // job["accumulation"],
                gradient_accumulation_steps=job["accumulation"],
                num_generations=job["group_size"],
                max_completion_length=job["tokens"],
                max_steps=job["steps"],
                learning_rate=1e-6,
                temperature=1.0,
                beta=0.0,
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                logging_strategy="no",
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in job["prompts"]]),
            processing_class=tokenizer,
            callbacks=[ends],
        )
        trainer.train()
    seconds = [after - before for before, after in pairwise(ends.at)]
    print(json.dumps({"seconds": seconds, "tokens": lengths[1:]}))


if __name__ == "__main__":
    main()
