"""Parses T-SQL statements, a JSON list on stdin, with sqlfluff; prints those that it does not understand."""
import json
import sys

import sqlfluff

bad = []
for statement in json.load(sys.stdin):
    try:
        sqlfluff.parse(statement, dialect="tsql")
    except Exception as error:  # noqa: BLE001
        bad.append([statement, str(error)])
print(json.dumps(bad))
