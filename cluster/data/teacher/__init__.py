"""A teacher: a large language model behind an OpenAI-compatible endpoint that writes programs and reasoning chains.

- `client`: questions out and answers in, with retries, deadlines and bounded concurrency;
- `answers`: every answer on disk, so that a resumed build asks nothing twice;
- `prompts`: what the teacher is asked, in our own words;
- `programs`: programs for the cells of the grid, as a source of candidates;
- `chains`: reasoning chains for problems, taken only if execution confirms them.

Nothing that a teacher says is believed: rules are checked on the source, values by execution.
"""

from cluster.data.teacher.answers import Answer, NoAnswer, Question, TeacherDown
from cluster.data.teacher.client import Fetch, Fields, Teacher, open_teacher

__all__ = ["Answer", "Fetch", "Fields", "NoAnswer", "Question", "Teacher", "TeacherDown", "open_teacher"]
