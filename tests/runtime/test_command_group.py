"""One command line: commands of other distributions join it, or say what to install."""

import importlib.metadata

import click
import pytest
from click.testing import CliRunner

from hazgate.cli.group import ELSEWHERE, cli


def _hide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Act as if no distribution added a command."""
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda **_: importlib.metadata.EntryPoints()
    )


def test_the_group_lists_every_command_whether_or_not_it_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listed = CliRunner().invoke(cli, ["--help"])
    assert listed.exit_code == 0
    _hide(monkeypatch)
    hidden = CliRunner().invoke(cli, ["--help"])
    assert hidden.exit_code == 0
    for name in ELSEWHERE:
        assert f"\n  {name} " in listed.stdout
        assert f"\n  {name} " in hidden.stdout


@pytest.mark.parametrize("name", sorted(ELSEWHERE))
def test_a_command_that_is_not_installed_says_what_to_install(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _hide(monkeypatch)
    result = CliRunner().invoke(cli, [name, "bundle", "--some-option", "1"])
    assert result.exit_code == 1
    assert f"pip install '{ELSEWHERE[name]}'" in result.stderr
    assert result.stdout == ""


def test_a_name_that_no_distribution_has_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    _hide(monkeypatch)
    assert CliRunner().invoke(cli, ["evalute"]).exit_code == 2


def test_an_entry_point_that_is_no_command_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = importlib.metadata.EntryPoint(
        name="wrong", value="click:echo", group="hazgate.commands"
    )
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda **_: importlib.metadata.EntryPoints([wrong])
    )
    with pytest.raises(TypeError, match="is not a click command"):
        cli.get_command(click.Context(cli), "wrong")
