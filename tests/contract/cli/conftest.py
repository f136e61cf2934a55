"""The command, run in this process."""

import pytest

from discreet_contract.cli.main import main


@pytest.fixture
def run(capsys):
    """Run `discreet ARGS`; exit code, standard output, standard error."""

    def runner(*args):
        code = 0
        try:
            main([str(arg) for arg in args])
        except SystemExit as exc:
            code = int(exc.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return runner
