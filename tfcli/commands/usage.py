"""Say what the option parser found wrong with a command line in the words of all other errors.

Typer's classes of errors are private to it, or click's before 0.16, and are told by their names.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

LONGEST_VALUE = 60


def usage_problem(error: Any, shell: Any, given: Sequence[str]) -> tuple[str, str]:
    """Return what is wrong with the words `given` to the command `shell`, and what to do about it."""
    verb = next((word for word in given if word in shell.commands), "")
    # an option without its value comes without a context
    command = error.ctx.command if error.ctx is not None else shell.commands.get(verb, shell)
    path = "tfcli" if hasattr(command, "commands") else f"tfcli {command.name}"
    hint = f"`{path} -h` lists what it takes"
    match type(error).__name__:
        case "NoSuchOption":
            return _unknown_option(error, shell, command, given), hint
        case "BadOptionUsage":
            return _value_or_none(error.option_name, command, given), hint
        case "MissingParameter":
            name = _name(error.param)
            meaning = str(error.param.help).rstrip(".")
            return f"expected a {name}, got nothing", f"{meaning[:1].lower()}{meaning[1:]}; {hint}"
        case "BadParameter" if error.param is not None:
            return _bad_value(error), hint
        case "UsageError":
            return _words_too_many(error, shell, command), hint
    return str(error.message), hint


def _unknown_option(error: Any, shell: Any, command: Any, given: Sequence[str]) -> str:
    from tfcli.recipe.complaints import nearest

    name, known = str(error.option_name), _options(command)
    # of `-beam-size 4`, the parser speaks of `-b` alone
    for word in given:
        if name[1:] in word and f"-{word.partition('=')[0]}" in known:
            return f"{word}: unknown option, did you mean -{word}?"
    owners = [verb for verb, other in shell.commands.items() if name in _options(other)]
    if owners:
        others = f"{', '.join(owners)} {'has' if len(owners) == 1 else 'have'} it"
        if command.name in shell.commands:
            return f"{name}: unknown option of {command.name}; {others}"
        return f"{name}: unknown option before the verb; behind it, {others}"
    near = nearest(name, known)
    return f"{name}: unknown option" + (f", did you mean {near}?" if near else f" of {command.name}")


def _options(command: Any) -> list[str]:
    return [name for parameter in command.params for name in parameter.opts if name.startswith("--")]


def _value_or_none(option: str, command: Any, given: Sequence[str]) -> str:
    """Tell of an option that is given a value and takes none, or the other way round."""
    value = next((word.partition("=")[2] for word in given if word.startswith(f"{option}=")), None)
    if value is not None:
        return f"{option} {_shown(value)}: expected {option} alone, which takes no value"
    metavar = next(parameter.metavar for parameter in command.params if option in parameter.opts)
    return f"{option}: expected {metavar or 'a value'} behind it, got nothing"


def _bad_value(error: Any) -> str:
    name = _name(error.param)
    details = getattr(error.__cause__, "errors", None)
    if details is None:  # a Typer that does not check with pydantic has words of its own
        return f"{name}: {error.message}"
    detail = details()[0]
    return f"{name} {_shown(str(detail['input']))}: {_expected(detail)}"


def _expected(detail: Mapping[str, Any]) -> str:
    from tfcli.recipe.complaints import LIMITS, PLAIN_TYPES, nearest

    kind = detail["type"]
    if kind in LIMITS:
        key, words = LIMITS[kind]
        return f"must be {words} {detail['ctx'][key]:g}"
    if kind in ("int_parsing", "float_parsing"):
        return f"expected {PLAIN_TYPES[int if kind == 'int_parsing' else float]}"
    choices = re.findall(r"'([^']+)'", detail["msg"].partition(" is not one of ")[2])
    if choices:
        near = nearest(str(detail["input"]), choices)
        return f"expected one of {', '.join(choices)}" + (f", did you mean {near}?" if near else "")
    return str(detail["msg"])


def _words_too_many(error: Any, shell: Any, command: Any) -> str:
    """Tell of a verb that there is not, of none, or of an argument too many."""
    from tfcli.recipe.complaints import nearest

    message = str(error.message)
    unknown = re.match(r"No such command (['\"])(.*?)\1", message)
    if unknown is not None:
        near = nearest(unknown[2], list(shell.commands))
        known = f"did you mean {near}?" if near else f"expected one of {', '.join(shell.commands)}"
        return f"{unknown[2]}: unknown verb, {known}"
    if message == "Missing command.":
        return f"expected one of {', '.join(shell.commands)}, got nothing"
    extra = re.match(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)$", message)
    if extra is None:
        return message
    taken = [_name(parameter) for parameter in command.params if not parameter.opts[0].startswith("-")]
    return f"expected {' '.join(taken)} alone, got {extra[1]} as well"


def _name(parameter: Any) -> str:
    options = [name for name in parameter.opts if name.startswith("-")]
    return max(options, key=len) if options else str(parameter.metavar or parameter.name).strip("[]")


def _shown(value: str) -> str:
    """Return a value as it was typed, or quoted where that could not be seen."""
    short = value if len(value) <= LONGEST_VALUE else f"{value[: LONGEST_VALUE - 3]}..."
    return short if short.isprintable() and short.strip() else repr(short)
