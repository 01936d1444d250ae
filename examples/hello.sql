-- The first result.
CREATE EXTENSION triggerdo;
CREATE ROLE app LOGIN;
GRANT USAGE ON SCHEMA triggerdo TO app;
CREATE SCHEMA app AUTHORIZATION app;

SET ROLE app;
CREATE FUNCTION app.hello(payload jsonb) RETURNS jsonb LANGUAGE sql
AS $$ SELECT jsonb_build_object('hello', payload->>'name') $$;

SELECT triggerdo.define_task('hello', run => 'app.hello');
CALL triggerdo.trigger_and_wait('hello', '{"name":"Ada"}', NULL);
