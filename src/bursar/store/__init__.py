"""Keep what must last: PostgreSQL, migrations, the spool and the journal."""
