"""Programs that tests start by themselves are no tests."""

collect_ignore_glob = ["_*.py"]
