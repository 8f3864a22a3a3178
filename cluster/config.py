"""The configuration of a run: one YAML file, overridden by `key.path=value`, checked before anything starts."""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from cluster.jobs.transfer import refusal
from cluster.secrets import holds_a_secret
from cluster.settings import ClusterSettings
from learner.settings import LearnerSettings, PolicySettings, ScratchModel, SupervisedSettings
from reward.settings import RewardSettings
from rl.anchors import StateText
from rl.settings import Settings
from rl.synthesis.generator import CALLABLE
from rollout.settings import RolloutSettings


class BadInput(Exception):
    """Something the user gave is wrong; the message is one line that names it and says what would be right."""


class GrammarSettings(Settings):
    """How large the generator's programs are: inclusive (least, most) ranges, see `rl.synthesis.generator.Grammar`."""

    statements: tuple[int, int] = (2, 4)
    list_length: tuple[int, int] = (2, 4)
    argument: tuple[int, int] = (1, 9)
    largest: int = 40
    longest: int = 5
    anchors: int = Field(10, ge=1, le=10)
    without: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _can_be_filled(self) -> "GrammarSettings":
        for name, least, bound in (("statements", 0, None), ("list_length", 1, "longest"), ("argument", 0, "largest")):
            low, high = getattr(self, name)
            if not least <= low <= high:
                raise ValueError(f"{name} ({low}, {high}) must be a range (least, most) from {least} up")
            if bound is not None and high > getattr(self, bound):
                raise ValueError(f"{name} ({low}, {high}) reaches beyond {bound} ({getattr(self, bound)})")
        for name in ("without", "calls"):
            if unknown := [one for one in getattr(self, name) if one not in CALLABLE]:
                raise ValueError(f"{name}: {unknown[0]} is none of what programs call: {', '.join(CALLABLE)}")
        if self.calls and not set(self.calls) - set(self.without):
            raise ValueError(f"calls ({', '.join(self.calls)}) leaves nothing that is not in without")
        return self


class GridSettings(Settings):
    """Programs over CodeReasoner's grid of methods and difficulties, round-robin over its cells."""

    mutations: int = Field(1, ge=0)
    """Further calls of each program, with mutated inputs (the successor's pipeline has one)."""


class DatasetSettings(Settings):
    """A dataset of programs that `datasets.load_dataset` reads."""

    path: str
    """A folder, a Parquet, JSONL or CSV file, or a name on the hub."""
    configuration: str | None = None
    """Which of its configurations, where it has several; a folder's are those that its `README.md` names."""
    revision: str | None = None
    """Branch, tag or commit of a dataset on the hub; the newest if not given."""
    split: str = "train"
    fields: dict[str, str] = {}
    """For a field of ours (`code`, `input`, `output`, `call`, `entry`, `id`, ..) its column, where that has another name."""


class TaughtSettings(Settings):
    """Programs that the teacher writes for the same grid."""

    mutations: int = Field(1, ge=0)
    """Further calls of each program, with mutated inputs."""
    mutated_by: Literal["rule", "teacher"] = "rule"
    """Whether rules change the inputs, or the teacher is asked for others, as in the successor's pipeline."""
    temperature: float = Field(0.8, ge=0)
    """This and those below are the successor's pipeline's."""
    top_p: float = Field(0.9, gt=0, le=1)
    input_temperature: float = Field(0.4, ge=0)
    input_top_p: float = Field(0.9, gt=0, le=1)


class TeacherSettings(Settings):
    """A large language model and how it is asked: behind an OpenAI-compatible endpoint, or by vLLM in Ray's workers."""

    base_url: str | None = Field(None, pattern=r"^https?://\S+$")
    """The endpoint, as the client library wants it, mostly ending in `/v1`."""
    in_process: RolloutSettings | None = None
    """The engines that take an endpoint's place: how many, what each takes, and how it is built."""
    model: str = Field(min_length=1)
    """What the endpoint calls it; for `in_process` its folder, in Hugging Face's format."""
    key_variable: str | None = Field(None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """The environment variable that holds the key (its name, never the key); None where the endpoint wants none."""
    in_flight: int = Field(32, ge=1)
    """Requests at a time."""
    deadline_s: float = Field(180.0, gt=0)
    """Longest time for one request, its answer included."""
    tries: int = Field(6, ge=1)
    """Times that one question is asked before its row is set aside."""
    longest_wait_s: float = Field(60.0, gt=0)
    """Longest wait between two tries, whatever the endpoint asks for."""
    down_after: int = Field(20, ge=1)
    """So many questions in a row without an answer, and the endpoint is taken for dead."""
    max_tokens: int = Field(4096, ge=1)
    """Longest answer, in tokens."""
    chain_samples: int = Field(4, ge=1)
    """Chains asked for a problem, at most, until execution confirms one."""
    chain_temperature: float = Field(0.6, ge=0)
    """This and the next are the successor's pipeline's."""
    chain_top_p: float = Field(0.9, gt=0, le=1)

    @model_validator(mode="after")
    def _is_somewhere(self) -> "TeacherSettings":
        if holds_a_secret(self.base_url or ""):
            raise ValueError("base_url has a password in it: name the environment variable that holds it by key_variable")
        if (self.base_url is None) == (self.in_process is None):
            raise ValueError("one of base_url (an endpoint) and in_process (vLLM in Ray's workers) is wanted")
        if self.in_process is not None and self.in_process.max_replicas is not None:
            raise ValueError("in_process.max_replicas: a teacher's workers keep their number; set in_process.replicas")
        if self.in_process is not None and self.max_tokens >= self.in_process.max_length:
            raise ValueError(
                f"max_tokens ({self.max_tokens}) leaves no room for a question in in_process.max_length "
                f"({self.in_process.max_length})"
            )
        return self


class SplitSettings(Settings):
    """Where the problems of one split come from: a built-in generator, a teacher, or programs that are there already."""

    problems: int = Field(ge=1)
    """How many; from a file or a dataset at most so many."""
    chains: bool | Literal["teacher"] = False
    """Whether each problem comes with a reasoning chain: made from its trace, or written by the teacher and checked."""
    grammar: GrammarSettings = GrammarSettings()
    """The small language of the demo, unless one of the four below takes its place."""
    grid: GridSettings | None = None
    teacher: TaughtSettings | None = None
    file: Path | None = None
    """JSONL, perhaps gzipped, of a shape that `cluster.data.existing` knows (CRUXEval's, HumanEval's, MBPP's)."""
    dataset: DatasetSettings | None = None
    mutations: int = Field(0, ge=0)
    """Further calls of each program of a file or a dataset, with mutated inputs."""
    task: Literal["output", "input", "both"] = "output"
    """What is asked of its problems; `both` asks it by turns, as the papers train both directions."""
    value_characters: int = Field(2000, ge=1)
    """Longest text of a state or an output."""

    @model_validator(mode="after")
    def _one_source(self) -> "SplitSettings":
        given = [name for name in ("grid", "teacher", "file", "dataset") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(
                f"{' and '.join(given)} are {'both' if len(given) == 2 else 'all'} given: a split has one source"
            )
        if self.mutations and not {"file", "dataset"} & set(given):
            raise ValueError(
                "mutations is for a file or a dataset; the grid has grid.mutations, a teacher teacher.mutations, "
                "the grammar none"
            )
        return self

    @property
    def asks_teacher(self) -> bool:
        """Whether it cannot be filled without a teacher."""
        return self.teacher is not None or self.chains == "teacher"

    @property
    def source(self) -> str:
        """The field that says where its programs come from."""
        return next((name for name in ("grid", "teacher", "file", "dataset") if getattr(self, name) is not None), "grammar")


class DifficultySettings(Settings):
    """Which problems are kept, by how often a given model solves them."""

    model: Path
    """Its folder, in Hugging Face's format; served as `rollout` says."""
    samples: int = Field(10, ge=1)
    at_least: int = Field(0, ge=0)
    """Right responses that a problem must have."""
    at_most: int = 3
    """Right responses that it may have."""
    temperature: float = Field(1.0, gt=0)
    max_tokens: int = Field(256, ge=1)
    """Length of a response; a problem whose prompt leaves less room in `rollout.max_length` is set aside."""
    in_flight: int = Field(64, ge=1)
    """Problems asked at a time."""
    splits: list[Literal["heldout", "validation", "sft", "rl"]] = ["rl"]
    """Whose problems are measured."""

    @model_validator(mode="after")
    def _is_a_band(self) -> "DifficultySettings":
        if not self.at_least <= self.at_most <= self.samples:
            raise ValueError(
                f"at_least ({self.at_least}) and at_most ({self.at_most}) must be a range up to samples ({self.samples})"
            )
        return self


class FilterSettings(Settings):
    """What a problem must not be, beside one that is already in a split."""

    benchmarks: list[Path] = []
    """JSONL files, perhaps gzipped, of programs that nothing may be trained on: none of their n-grams comes in."""
    ngram: int = Field(10, ge=2)
    """Words of those n-grams."""
    alike: float | None = Field(None, gt=0, le=1)
    """Share of its token 5-grams that a problem may not have in common with another; None allows any."""
    deadline_s: float = Field(0.5, gt=0)
    """CPU seconds that a program may take, if `reward.cpu_s` is not less."""
    structure: bool = False
    """Whether programs must keep the structural rules of `rl.synthesis.structure`."""
    difficulty: DifficultySettings | None = None


class DataSettings(Settings):
    """The four splits. No held-out program is in any other split, and no two splits share a program."""

    sft: SplitSettings
    validation: SplitSettings
    rl: SplitSettings
    heldout: SplitSettings
    decoupled: bool = True
    """Whether the output and the input task have prompts of their own; false is StepCodeReasoner's ablation."""
    heldout_seed: int = 20_261_124
    """Draws the held-out split, and nothing that a model is trained on."""
    state_text: StateText = "str"
    """How states show values, in every split: `str` as the paper has it, or `repr`, in which strings are quoted."""
    filters: FilterSettings = FilterSettings()
    teacher: TeacherSettings | None = None
    """Who is asked where a split has `teacher` or `chains: teacher`."""
    tokenizer: Path | None = None
    """Folder of the tokenizer that the card counts lengths with; without one it counts characters."""
    max_tokens: int | None = Field(None, ge=1)
    """Longest prompt and chain of a problem together, in tokens of that tokenizer; None allows any."""

    @model_validator(mode="after")
    def _has_what_it_asks(self) -> "DataSettings":
        if self.max_tokens is not None and self.tokenizer is None:
            raise ValueError("max_tokens counts in tokens: tokenizer must name the folder of one")
        for name in ("sft", "validation", "rl", "heldout"):
            if getattr(self, name).asks_teacher and self.teacher is None:
                raise ValueError(f"{name} asks a teacher: data.teacher must say which, by model and base_url or in_process")
        return self


class EvaluationSettings(Settings):
    """How a model is measured on the held-out split."""

    samples: int = Field(4, ge=1)
    """Responses to each problem at temperature 1, beside one greedy one."""
    in_flight: int = Field(64, ge=1)
    """Problems asked at a time."""
    seed: int = 77
    """Draws the sampled responses, the same for every model."""
    every: int | None = Field(None, ge=1)
    """RL steps between evaluations of the policy while it trains, beside training; none without it."""
    every_problems: int = Field(64, ge=1)
    """The first so many held-out problems are asked then."""
    every_samples: int = Field(1, ge=1)
    every_temperature: float = Field(0.0, ge=0)
    """Of those responses; 0 is greedy."""
    every_in_flight: int = Field(8, ge=1)
    """Problems asked at a time then; few, so that training's own are not kept waiting."""

    @model_validator(mode="after")
    def _greedy_once(self) -> "EvaluationSettings":
        if self.every_temperature == 0 and self.every_samples > 1:
            raise ValueError(f"every_samples ({self.every_samples}) needs every_temperature above 0")
        return self


class RunSettings(Settings):
    """Everything that decides a run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = 1
    model: ScratchModel = ScratchModel()
    """What the run starts from: a model made from nothing, unless `pretrained` takes its place."""
    pretrained: str | None = None
    """A model's folder in Hugging Face's format, or its name on the hub."""
    data: DataSettings
    sft: SupervisedSettings = SupervisedSettings()
    rl: PolicySettings = PolicySettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    controls: list[Literal["sft_longer", "terminal", "step", "rl_only"]] = []
    """Comparisons that get RL's wall time: more SFT and RL by another algorithm from the same SFT model, RL without SFT."""
    learner: LearnerSettings = LearnerSettings()
    rollout: RolloutSettings = RolloutSettings()
    reward: RewardSettings = RewardSettings()
    cluster: ClusterSettings = ClusterSettings()
    loggers: list[Literal["tensorboard", "wandb", "mlflow"]] = []
    """Where the figures go beside `metrics.jsonl`."""

    @model_validator(mode="after")
    def _fits_together(self) -> "RunSettings":
        for name in ("sft", "validation"):
            if not getattr(self.data, name).chains:
                raise ValueError(f"data.{name}.chains must be true or teacher: SFT learns from chains")
        if self.rl.updates > self.rl.groups:
            raise ValueError(
                f"rl.updates ({self.rl.updates}) is more than there are rl.groups ({self.rl.groups}) in a batch"
            )
        if self.rl.max_tokens >= self.rollout.max_length:
            raise ValueError(
                f"rl.max_tokens ({self.rl.max_tokens}) leaves no room for a prompt in rollout.max_length "
                f"({self.rollout.max_length})"
            )
        if why := refusal(self.learner, self.rollout, bool(self.rl.max_staleness or self.evaluation.every)):
            raise ValueError(why)
        difficulty = self.data.filters.difficulty
        if difficulty is not None and difficulty.max_tokens >= self.rollout.max_length:
            raise ValueError(
                f"data.filters.difficulty.max_tokens ({difficulty.max_tokens}) leaves no room for a prompt in "
                f"rollout.max_length ({self.rollout.max_length})"
            )
        if self.pretrained is not None and "model" in self.model_fields_set:
            raise ValueError("model and pretrained are both given: a run starts from one of them")
        if self.pretrained is None and self.rollout.max_length > self.model.max_length:
            raise ValueError(
                f"rollout.max_length ({self.rollout.max_length}) is beyond model.max_length ({self.model.max_length})"
            )
        if self.sft.max_seconds is not None and "sft_longer" in self.controls:
            raise ValueError("sft.max_seconds: SFT must end by itself before longer SFT can be compared with it")
        return self


def read_mapping(path: Path) -> dict[str, Any]:
    """What a configuration file says, unchecked.

    Raises:
        BadInput: it cannot be read, or holds no settings.
    """
    try:
        raw = yaml.safe_load(path.read_text())
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: {error}") from None
    except yaml.YAMLError as error:
        raise BadInput(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise BadInput(f"{path}: must hold a mapping of settings")
    return raw


def load(path: Path, overrides: list[str]) -> RunSettings:
    """Read a configuration file and apply overrides.

    Raises:
        BadInput: the file cannot be read, or a field is unknown, missing or out of range.
    """
    raw = read_mapping(path)
    for one in overrides:
        override(raw, one)
    try:
        return RunSettings.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"{path}: {field + ': ' if field else ''}{first['msg'].removeprefix('Value error, ')}") from None


def override(raw: dict[str, Any], override: str) -> None:
    """Put `key.path=value` into a mapping of settings.

    Raises:
        BadInput: it is not written so.
    """
    path, equals, value = override.partition("=")
    if not equals or not path:
        raise BadInput(f"{override}: an override is written key.path=value")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError:
        raise BadInput(f"{override}: the value is not YAML") from None
    *parents, last = path.split(".")
    section = raw
    for parent in parents:
        inner = section.get(parent, {})
        if not isinstance(inner, dict):
            raise BadInput(f"{override}: {parent} is not a section")
        # A copy, because YAML's aliases make sections share one mapping.
        section[parent] = dict(inner)
        section = section[parent]
    section[last] = parsed


def dump(settings: RunSettings) -> str:
    """The resolved configuration as YAML."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)
