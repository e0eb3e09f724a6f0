"""The command line: one file per command, the group and its exit codes in `group`."""
