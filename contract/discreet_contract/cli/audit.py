"""`discreet policy explain` and `diff`: what an auditor or a reviewer reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from discreet_contract.files import read_or_explain
from discreet_contract.policy.compile import canonical_json, load_policy, policy_hash
from discreet_contract.policy.diff import diff_facts, diff_markdown, diff_policies, diff_text
from discreet_contract.policy.explain import explain
from discreet_contract.policy.explain_document import arrange
from discreet_contract.policy.explain_render import as_html, as_markdown, as_text
from discreet_contract.policy.registry import registry_entry
from discreet_contract.policy.release import read_unverified

if TYPE_CHECKING:
    from discreet_contract.policy.model import Policy

FILE = click.Path(path_type=Path)
_json = click.option("--json", "as_json", is_flag=True, help="The same as --format json.")


def open_policy(file: Path) -> Policy:
    """Policy in a YAML file, or in a signed one; whoever reads it here judges contents, not signatures."""
    content = read_or_explain(file, what="a policy", hint="name a policy file, YAML or signed JSON")
    if content.lstrip().startswith(b"{") and b'"signatures"' in content:
        return read_unverified(content)
    return load_policy(file)


@click.command("explain")
@click.argument("file", type=FILE)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "md", "html", "json", "registry"]),
    default="text",
    show_default=True,
    help="registry: an entry for the Differential Privacy Deployments Registry, as JSON.",
)
@_json
def explain_command(file: Path, form: str, *, as_json: bool) -> None:
    """Say in plain words what FILE (YAML or signed) collects, keeps, sends, and what that can reveal.

    Tight figures beside the plain sums need the extra `audit` of discreet-contract.

    \b
    Example:
      discreet policy explain policies/examples/flights.yaml --format html > flights.html
    """
    compiled = open_policy(file)
    facts = explain(compiled, policy_hash(canonical_json(compiled)), tight=True)
    if as_json or form == "json":
        click.echo(json.dumps(facts))
        return
    if form == "registry":
        click.echo(json.dumps(registry_entry(facts), indent=2, ensure_ascii=False))
        return
    render = {"text": as_text, "md": as_markdown, "html": as_html}[form]
    click.echo(render(arrange(facts)))


@click.command("diff")
@click.argument("old", type=FILE)
@click.argument("new", type=FILE)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "md", "json"]),
    default="text",
    show_default=True,
    help="md: for a review comment.",
)
@_json
def diff_command(old: Path, new: Path, form: str, *, as_json: bool) -> None:
    """Class every change from OLD to NEW (YAML or signed), with the loss before and after.

    Exits 0 if nothing but words changed, 10 if all is compatible, 11 if something breaks, 12 if
    privacy regresses, 13 if both.

    \b
    Example:
      discreet policy diff old.yaml new.yaml --format md
    """
    found = diff_policies(open_policy(old), open_policy(new))
    if as_json or form == "json":
        click.echo(json.dumps(diff_facts(found)))
    else:
        click.echo(diff_markdown(found) if form == "md" else diff_text(found))
    if found.exit_code:
        click.get_current_context().exit(found.exit_code)
