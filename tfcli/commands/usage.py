"""Say what the option parser found wrong with a command line in the words of all other errors.

Typer's classes of errors are private to it, or click's before 0.16, and are told by their names.
"""

import re
from collections.abc import Collection, Sequence
from itertools import chain
from typing import Any

from tfcli.recipe.complaints import PLAIN_TYPES, limit_sentence, nearest, shortened


def usage_problem(error: Any, shell: Any, given: Sequence[str]) -> tuple[str, str]:
    """Return what is wrong with the words `given` to the command `shell`, and what to do about it."""
    verb = next((word for word in given if word in shell.commands), "")
    # neither a plain error nor an option without its value comes with a context
    context = getattr(error, "ctx", None)
    command = context.command if context is not None else shell.commands.get(verb, shell)
    path = "tfcli" if hasattr(command, "commands") else f"tfcli {command.name}"
    hint = f"`{path} -h` lists what it takes"
    match type(error).__name__:
        case "NoSuchOption":
            return _unknown_option(error, shell, command, given), hint
        case "BadOptionUsage" if "requires an argument" in str(error.message):
            metavars = (each.metavar for each in command.params if error.option_name in each.opts)
            return (
                f"{error.option_name}: expected {next(metavars, None) or 'a value'} behind it, got nothing",
                hint,
            )
        case "MissingParameter":
            name = _name(error.param)
            meaning = str(error.param.help).rstrip(".")
            return f"expected a {name}, got nothing", f"{meaning[:1].lower()}{meaning[1:]}; {hint}"
        case "BadParameter" if error.param is not None:
            return _bad_value(error), hint
        case "UsageError":
            return _words_too_many(error, shell, command), hint
    return str(error.message).removesuffix("."), hint


def _unknown_option(error: Any, shell: Any, command: Any, given: Sequence[str]) -> str:
    others = {verb: _options(other) for verb, other in shell.commands.items()}
    known, common = _options(command), _options(shell)
    typed = _as_typed(str(error.option_name), given, {*common, *chain(*others.values())})
    name = f"-{typed}" if len(typed) > 2 and typed[1] != "-" else typed
    unknown = f"{_shown(typed)}: unknown option"
    if name in known:
        return f"{unknown}, did you mean {name}?"
    behind_verb = command.name in others
    if behind_verb and name in common:
        return f"{unknown} of {command.name}; it stands before the verb: `tfcli {name}`"
    owners = [verb for verb, names in others.items() if name in names]
    if owners:
        have = (
            f"{', '.join(owners)} {'has' if len(owners) == 1 else 'have'} {'it' if name == typed else name}"
        )
        if behind_verb:
            return f"{_shown(typed)}: unknown option of {command.name}; {have}"
        return f"{_shown(typed)}: unknown option before the verb; behind it, {have}"
    near = nearest(name, known + common)
    return unknown + (f", did you mean {near}?" if near else f" of {command.name}")


def _as_typed(name: str, given: Sequence[str], options: Collection[str]) -> str:
    """Return the word that has the unknown option `name`: of `-beam-size 4`, the parser speaks of `-b` alone."""
    if name.startswith("--"):
        return name
    words = [word.partition("=")[0] for word in given if re.match("-[^-]", word)]
    meant = (word for word in words if word.startswith(name) or (name[1] in word and f"-{word}" in options))
    return next(meant, name)


def _options(command: Any) -> list[str]:
    names = [name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)]
    return [name for name in names if name.startswith("-")]


def _bad_value(error: Any) -> str:
    name = _name(error.param)
    details = getattr(error.__cause__, "errors", None)
    if details is None:  # a Typer that does not check with pydantic has words of its own
        return f"{name}: {error.message}"
    detail = details()[0]
    return f"{name} {_shown(str(detail['input']))}: {_expected(detail)}"


def _expected(detail: Any) -> str:
    kind = detail["type"]
    if kind in ("int_parsing", "float_parsing"):
        return f"expected {PLAIN_TYPES[int if kind == 'int_parsing' else float]}"
    choices = re.findall(r"'([^']+)'", detail["msg"].partition(" is not one of ")[2])
    if choices:
        near = nearest(str(detail["input"]), choices)
        return f"expected one of {', '.join(choices)}" + (f", did you mean {near}?" if near else "")
    return limit_sentence(kind, detail.get("ctx", {})) or str(detail["msg"])


def _words_too_many(error: Any, shell: Any, command: Any) -> str:
    """Tell of a verb that there is not, of none, or of an argument too many."""
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
    return f"expected {' '.join(taken)} alone, got {_shown(extra[1])} as well"


def _name(parameter: Any) -> str:
    options = [name for name in parameter.opts if name.startswith("-")]
    return max(options, key=len) if options else str(parameter.metavar or parameter.name).strip("[]")


def _shown(value: str) -> str:
    """Return a value as it was typed, or quoted where that could not be seen."""
    short = shortened(value)
    return short if short.isprintable() and short.strip() else repr(short)
