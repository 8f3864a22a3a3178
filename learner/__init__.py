"""The workers that change the model: a DeepSpeed engine under Ray Train, supervised and policy updates, checkpoints."""
