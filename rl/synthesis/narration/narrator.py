"""The whole response: a reasoning and a print for each executed anchor, then the answer; for both tasks."""

import random
from collections.abc import Sequence

from rl.answers import UnreadableAnswer, literal, one_call
from rl.problems import Problem, Task
from rl.responses import render
from rl.synthesis.narration import wording
from rl.synthesis.narration.events import Assigned, Changed, Event, Returned
from rl.synthesis.narration.library import NoRule, Raised
from rl.synthesis.narration.machine import argument_values, walk
from rl.synthesis.narration.places import Place, places
from rl.synthesis.narration.values import Unshowable, abbreviated, text_of
from rl.synthesis.narration.visits import Visit


def narrate(problem: Problem, visits: Sequence[Visit], rng: random.Random) -> str:
    """A correct response to a problem whose trace is known.

    Every sentence is what execution showed: the walk through the program is held against it at each anchor, and where
    the walk has no rule only the recorded value is named.

    Args:
        problem: any program; its `states` and `output` come from execution.
        visits: its executed anchors, as `states_and_visits` reads them.
        rng: chooses among phrasings.

    Raises:
        ValueError: visits and states are not of the same run, a text holds a tag of the response format, or for the
            input task an argument of the call is no plain value.
    """
    _check(problem.states, visits)
    walked = walk(problem.instrumented, problem.call, visits, problem.output)
    by_line = places(problem.instrumented, {visit.line for visit in visits})
    steps = []
    for number, (visit, state) in enumerate(zip(visits, problem.states, strict=True)):
        events = walked.told[number] if number < len(walked.told) else None
        steps.append((_reasoning(visit, events, by_line[visit.line], rng), state))
    if problem.task is Task.OUTPUT:
        return render(steps, (_end(problem.output, rng), problem.output))
    _check_input(problem)
    proposed = _arguments(problem.call)
    return render(steps, (_confirmed(problem.output, rng), proposed), (_proposal(problem, proposed, rng), proposed))


def _check_input(problem: Problem) -> None:
    """Raises ValueError if the call cannot be an answer: answers are judged by plain values, and functions are none."""
    try:
        one_call(problem.call, problem.call.partition("(")[0].strip())
        for value in argument_values(problem.code, problem.call):
            literal(text_of(value))
    except (NoRule, Raised, Unshowable, UnreadableAnswer):
        raise ValueError(f"the input has an argument that is no plain value: {problem.call:.80}") from None


def _check(states: Sequence[str], visits: Sequence[Visit]) -> None:
    if [state.partition(":")[0] for state in states] != [visit.name for visit in visits]:
        raise ValueError(f"the visits are not those of the problem's {len(states)} states")


def _reasoning(visit: Visit, events: Sequence[Event] | None, place: Place, rng: random.Random) -> str:
    if events is None:
        return _unexplained(visit, place, rng)
    told = wording.told(events, rng)
    if events and _states(events[-1], visit.name):
        return told
    closing = _closing(visit, place, rng)
    return f"{told}; {closing}" if told else closing


def _states(event: Event, name: str) -> bool:
    """Whether the event's sentence says itself what `name` holds."""
    match event:
        case Assigned(name=assigned):
            return assigned == name
        case Changed(after=after):
            return name in dict(after)
        case Returned():
            return name == "return_val"
    return False


def _closing(visit: Visit, place: Place, rng: random.Random) -> str:
    value = abbreviated(visit.value)
    if place.returned:
        return rng.choice(("return {0} gives {1}", "{0} is returned, {1}", "the return value is {0} = {1}")).format(
            place.returned, value
        )
    if place.loop:
        return rng.choice(("after the loop {0} is {1}", "the loop leaves {0} = {1}", "so {0} is {1} in the end")).format(
            visit.name, value
        )
    return rng.choice(("{0} is {1}", "{0} holds {1} now", "so {0} = {1}")).format(visit.name, value)


def _unexplained(visit: Visit, place: Place, rng: random.Random) -> str:
    """Where the walk has no rule: the statement, and the value that was recorded after it."""
    if place.returned or place.loop or not place.statement:
        return _closing(visit, place, rng)
    value = abbreviated(visit.value)
    return rng.choice(("after {0}, {1} is {2}", "{0} leaves {1} = {2}", "{0}, and {1} is {2}")).format(
        place.statement, visit.name, value
    )


def _end(output: str, rng: random.Random) -> str:
    return rng.choice(("the call gives {}", "so the call returns {}", "the output is {}")).format(abbreviated(output))


def _arguments(call: str) -> str:
    """What stands between the call's parentheses; the whole call where that is nothing."""
    return call.partition("(")[2].rstrip().removesuffix(")").strip() or call


def _proposal(problem: Problem, proposed: str, rng: random.Random) -> str:
    forms = (
        "the call has to give {0}; try {1} and walk through",
        "wanted is the output {0}; take {1}, the walk below confirms it",
        "an input is needed for which the result is {0}; with {1} the steps below lead there",
        "goal: {0}; propose {1} and check it step by step",
    )
    return rng.choice(forms).format(abbreviated(problem.output), abbreviated(proposed))


def _confirmed(output: str, rng: random.Random) -> str:
    forms = ("the walk ends with {} as wanted", "this gives the wanted {}, so the input is right", "{} is reached")
    return rng.choice(forms).format(abbreviated(output))
