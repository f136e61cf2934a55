"""The `discreet` command: `main` finds the groups, `policy` is the one that belongs to everybody."""
