"""Talks to the fake with a client that others wrote; prints what it sees as JSON."""
import json
import sys

import pytds

port, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]
seen = {}
with pytds.connect("127.0.0.1", "shop", user, password, port=port, autocommit=True) as connection:
    cursor = connection.cursor()
    cursor.execute("SELECT id, big, word, amount, day, at, bytes, ratio, flag, code FROM dbo.foreign_one ORDER BY id")
    seen["names"] = [column[0] for column in cursor.description]
    seen["rows"] = [[value.hex() if isinstance(value, bytes) else str(value) for value in row] for row in cursor.fetchall()]
    cursor.execute("SELECT CONVERT(nvarchar(max), body) AS body FROM dbo.foreign_one WHERE word = %s", ("b",))
    seen["body"] = cursor.fetchone()[0]
    cursor.execute("INSERT INTO dbo.foreign_one (id, word) VALUES (%d, N'from outside')" % 9)
    cursor.execute("SELECT COUNT(*) AS n FROM dbo.foreign_one")
    seen["count"] = cursor.fetchone()[0]
    try:
        cursor.execute("SELECT nowhere FROM dbo.foreign_one")
    except pytds.Error as error:
        seen["error"] = [error.msg_no, str(error.text)]
    cursor.execute("SELECT id FROM dbo.many ORDER BY id")
    seen["many"] = sum(row[0] for row in cursor)
try:
    pytds.connect("127.0.0.1", "shop", user, "wrong", port=port)
except pytds.Error as error:
    seen["login"] = str(error)
print(json.dumps(seen))
