"""Strict models: an unknown key, a wrong type or a value out of range is refused."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, to_json

from stagewise.errors import ConfigError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(_[a-z0-9]+)*$")]

Model = TypeVar("Model", bound=BaseModel)


class Strict(BaseModel):
    """Base of every settings model: strict types, no unknown keys, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def parse(model: type[Model], mapping: Mapping[str, Any]) -> Model:
    """Validate ``mapping`` as ``model``.

    Validation runs in JSON mode, so that YAML's lists serve as tuples while types stay strict.

    Raises:
        ConfigError: naming each offending key, the value, what is allowed and the remedy.
    """
    try:
        return model.model_validate_json(to_json(mapping, inf_nan_mode="constants"))
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(model, detail) for detail in error.errors())) from None


def parse_json(model: type[Model], text: str) -> Model:
    """Validate the JSON ``text`` as ``model``; as `parse`, for settings from a command line."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(model, detail) for detail in error.errors())) from None


def _explain(model: type[BaseModel], detail: ErrorDetails) -> str:
    where = ".".join(str(part) for part in detail["loc"]) or "the settings"
    value = detail.get("input")
    if detail["type"] == "extra_forbidden":
        allowed = allowed_keys(model, detail["loc"][:-1])
        near = get_close_matches(str(detail["loc"][-1]), allowed, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return f"config key {where!r} is not known.{hint} Allowed here: {', '.join(allowed)}."
    if detail["type"] == "missing":
        return f"config key {where!r} is missing: {detail['msg']}."
    if detail["type"] == "value_error":
        return f"config key {where!r}: {detail['msg'].removeprefix('Value error, ')}."
    remedy = ""
    if isinstance(value, str) and detail["type"] in {"float_type", "int_type"}:
        remedy = " YAML reads 1e-4 as a string: write 1.0e-4, without quotes."
    return f"config key {where!r} has the value {value!r}: {detail['msg']}.{remedy}"


def allowed_keys(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """Names of the fields that ``model`` has at ``location``, a path of keys into nested models."""
    current: type[BaseModel] | None = model
    for part in location:
        if current is None:
            return []
        field = current.model_fields.get(str(part))
        if field is not None:
            current = _nested_model(field.annotation)
    return sorted(current.model_fields) if current is not None else []


def _nested_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _nested_model(argument)
        if found is not None:
            return found
    return None
