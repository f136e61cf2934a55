"""`discreet agent`: features, segments, flags, explain: what the running agent tells the apps on this device."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from discreet_agent.cli.options import config_option, json_option
from discreet_agent.cli.table import show_table
from discreet_agent.config import load_settings
from discreet_contract.errors import ConfigError, PermanentError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

context_option = click.option(
    "--context", default="{}", help="What the app would say of its user: a JSON object (default: nothing)."
)


@click.command()
@config_option
@json_option
def features(config: Path | None, *, as_json: bool) -> None:
    """Show every feature and score: value, moment, share of its window that is known, and what stands in for it.

    \b
    Example:
      discreet agent features
    """
    found = ask_as_owner(config, {"query": "features"}) | ask_as_owner(config, {"query": "scores"})
    if as_json:
        click.echo(json.dumps(found))
        return
    rows = [_feature_row(name, told) for name, told in found["features"].items()]
    show_table(rows, ("feature", "value", "as_of", "coverage", "note"), empty="the policy has no features")
    scores = [
        {"score": name, "value": _value(told["value"]), "note": _instead(told["fallbacks"])}
        for name, told in found["scores"].items()
    ]
    if scores:
        click.echo()
        show_table(scores, ("score", "value", "note"), empty="")


@click.command()
@config_option
@json_option
def segments(config: Path | None, *, as_json: bool) -> None:
    """Show every segment: whether this device is in it, and since when.

    \b
    Example:
      discreet agent segments
    """
    found = ask_as_owner(config, {"query": "segments"})
    if as_json:
        click.echo(json.dumps(found))
        return
    rows = [
        {"segment": name, "inside": "yes" if told["inside"] else "no", "since": told["since"] or "never inside"}
        for name, told in found["segments"].items()
    ]
    show_table(rows, ("segment", "inside", "since"), empty="the policy has no segments")


@click.group("flags", invoke_without_command=True)
@context_option
@config_option
@json_option
@click.pass_context
def flags(group: click.Context, config: Path | None, context: str, *, as_json: bool) -> None:
    """Show what every flag gives an app now. Nobody is exposed to anything by it.

    \b
    Examples:
      discreet agent flags
      discreet agent flags --context '{"country": "NL"}'
    """
    if group.invoked_subcommand is not None:
        return
    found = ask_as_owner(config, {"query": "evaluate", "context": _read(context)})
    if as_json:
        click.echo(json.dumps(found))
        return
    rows = [_flag_row(key, told) for key, told in found["flags"].items()]
    show_table(rows, ("flag", "variant", "value", "reason"), empty="the policy has no flags")


@click.command()
@click.argument("flag")
@context_option
@config_option
@json_option
def explain(flag: str, config: Path | None, context: str, *, as_json: bool) -> None:
    """Say why a flag has its value: rule, feature values used, versions, fallbacks.

    \b
    Example:
      discreet agent explain autoplay
    """
    found = ask_as_owner(config, {"query": "explain", "flag": flag, "context": _read(context)})
    click.echo(json.dumps(found) if as_json else "\n".join(_lines(found)))


def ask_as_owner(config: Path | None, question: dict[str, Any]) -> dict[str, Any]:
    """As the owner, whatever the policy lets its apps read. Raises PermanentError."""
    from discreet_agent.ask import ask

    answer = ask(load_settings(config).socket, json.dumps(question | {"owner": True}).encode())
    if "error" in answer:
        raise PermanentError(f"{answer['error']}: {answer['detail']}", hint=answer.get("next", ""))
    for refused in answer.get("refused", ()):
        raise ConfigError(f"{refused['reason']}: {refused['detail']}", hint="shorten the flag's name or the context")
    return answer


def _read(context: str) -> Any:
    try:
        read = json.loads(context)
    except ValueError as exc:
        raise ConfigError("`--context` is no JSON", hint='write it like \'{"country": "NL"}\'') from exc
    if not isinstance(read, dict):
        raise ConfigError("`--context` is no JSON object", hint='write it like \'{"country": "NL"}\'')
    return read


def _feature_row(name: str, told: dict[str, Any]) -> dict[str, str]:
    notes = [
        told["fallback"],
        "at least" if told["at_least"] else None,
        "part of it could not be read" if told["partial"] else None,
    ]
    return {
        "feature": name,
        "value": _value(told["value"]),
        "as_of": told["as_of"],
        "coverage": f"{told['coverage']:.0%}",
        "note": ", ".join(filter(None, notes)),
    }


def _flag_row(key: str, told: dict[str, Any]) -> dict[str, str]:
    if "error" in told:
        return {"flag": key, "variant": "", "value": "", "reason": f"{told['error']}: {told['detail']}"}
    value = _value(told["value"]) if "value" in told else "the app's own default"
    return {"flag": key, "variant": told["variant"] or "", "value": value, "reason": told["reason"]}


def _instead(fallbacks: list[str]) -> str:
    return f"stands in for {', '.join(fallbacks)}" if fallbacks else ""


def _value(value: Any) -> str:
    if value is None:
        return "unavailable"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict) and all(isinstance(part, (int, float)) for part in value.values()):
        return ", ".join(f"{name} {part:.6g}" for name, part in value.items()) or "nothing"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _lines(told: dict[str, Any], indent: str = "") -> Iterator[str]:
    """Whatever an explanation holds, one line for each word of it."""
    for name, value in told.items():
        if isinstance(value, dict) and value:
            yield f"{indent}{name}"
            yield from _lines(value, f"{indent}  ")
        elif isinstance(value, list) and any(isinstance(part, dict) for part in value):
            yield f"{indent}{name}"
            for part in value:
                said = list(_lines(part if isinstance(part, dict) else {"is": part}, f"{indent}    "))
                yield f"{indent}  - {said[0].strip() if said else 'nothing'}"
                yield from said[1:]
        else:
            yield f"{indent}{name}: {'none' if value is None else _value(value)}"
