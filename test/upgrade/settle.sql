-- After data-0.1.0.sql: its rows were written by another server, under other oids. Here it
-- becomes a database that this server has had all along.
UPDATE _triggerdo.role SET role = name::text::regrole;
UPDATE _triggerdo.task SET owner = owner_name::text::regrole;
UPDATE _triggerdo.live SET owner = 'app'::regrole;
UPDATE _triggerdo.run SET owner = CASE owner WHEN 16517 THEN 'app' ELSE 'other' END::regrole,
    triggered_by = CASE triggered_by WHEN 16517 THEN 'app' ELSE 'other' END::regrole;
INSERT INTO _triggerdo.origin (system_identifier, database, restored)
SELECT c.system_identifier, d.oid, 0 FROM pg_control_system() c, pg_database d WHERE d.datname = current_database();
