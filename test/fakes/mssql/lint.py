"""Parses T-SQL statements, a JSON list on stdin, with sqlfluff; prints those that it does not understand."""
import json
import sys

from sqlfluff.core import FluffConfig, Linter

linter = Linter(config=FluffConfig(overrides={"dialect": "tsql"}))
bad = []
for statement in json.load(sys.stdin):
    violations = linter.parse_string(statement).violations
    if violations:
        bad.append([statement, str(violations[0])])
print(json.dumps(bad))
