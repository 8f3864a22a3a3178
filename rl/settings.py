"""The base of every room's settings: typed, immutable, and refusing what it does not know."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A section of the configuration. An unknown or ill-typed field is an error that names it."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)
