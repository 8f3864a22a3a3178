"""The zygote: a small process, stdlib only, that forks one confined child for every program it is asked to run.

It is exec'ed fresh (`reward.sandbox` does) and never imports the rest of the project: the cost of a fork follows the
size of the process that forks, and a child can read everything its parent held in memory.
"""
