"""What one sample of the model carries through the loop: tokens, text, verdict, rewards, and at last advantages."""

from dataclasses import dataclass, field

from rl.responses import Span
from rl.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled response, as the engine gives it."""

    token_ids: list[int]
    rollout_logprobs: list[float]
    """Log-probability of each sampled token under the distribution it was drawn from."""
    policy_versions: list[int]
    """The policy version that sampled each token."""
    finished: bool
    """Whether the model ended it, rather than the length limit."""


@dataclass(frozen=True, slots=True)
class Score:
    """What the interpreter says of one response."""

    verdict: Verdict
    final_reward: float
    """1.0 for a right final answer (equation 9), else 0.0. Meaningless, and masked, if `verdict.is_fault`."""
    step_rewards: list[float]
    """For each anchor that execution reached, 1.0 if the response states it exactly (equation 8), else 0.0."""
    states: list[str]
    """The true `NAME: value` of each of those anchors."""
    predicted: list[str] = field(default_factory=list)
    """What the response states, in its order."""
    step_spans: list[Span] = field(default_factory=list)
    """Characters of the response that belong to each predicted step, its reasoning included."""
    print_spans: list[Span] = field(default_factory=list)
    """Characters of each predicted step's print block alone."""
    answer: str | None = None


@dataclass(slots=True)
class Trajectory:
    """One sample with all that was found out about it."""

    problem_id: str
    prompt_ids: list[int]
    completion: Completion
    text: str
    score: Score
    token_spans: list[Span]
    """Tokens of the response that belong to each predicted step."""
    print_spans: list[Span] = field(default_factory=list)
    """Tokens of each predicted step's print block alone."""
    advantages: list[float] = field(default_factory=list)
    """One for each response token; empty until an algorithm annotates the group."""
    segments: list[int] = field(default_factory=list)
    """For each response token the step, from 1, whose advantage it carries; 0 where the final one is all it has."""
    final_advantage: float = 0.0
    """The part of every token's advantage that comes from the final answer."""
