-- Part 25: what pg_dump takes along (once): definitions, and what waits. The day
-- partitions are made later, so they are dumped as any table is. Not among these:
-- origin, whose absence is how a restored database is known (src/origin.c).
SELECT pg_catalog.pg_extension_config_dump('_triggerdo.task', '');
SELECT pg_catalog.pg_extension_config_dump('_triggerdo.role', '');
SELECT pg_catalog.pg_extension_config_dump('_triggerdo.live', '');
SELECT pg_catalog.pg_extension_config_dump('_triggerdo.timer', '');
