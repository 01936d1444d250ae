-- Job: the three tasks of the example and what they run. Run as app, after schema.sql.
-- Every name is written with its schema: a run begins in a fresh session, whatever its search_path.
\set ON_ERROR_STOP on

-- "a (>= 1) | b:any, c" as rows: clause, alternative, target, relation, version. Three plain searches:
-- one expression with captures for all of it took five times as long.
CREATE FUNCTION app.relations(list text)
RETURNS TABLE (clause bigint, alternative bigint, target text, relation text, version text)
LANGUAGE sql IMMUTABLE AS $$
    SELECT c.clause, a.alternative,
           pg_catalog.substring(a.words, '[^\s:(\[]+'),
           pg_catalog.substring(a.words, '[<>=]+'),
           pg_catalog.substring(a.words, '[<>=]\s*([^\s<>=)]+)')
    FROM pg_catalog.string_to_table(list, ',') WITH ORDINALITY AS c(words, clause),
         pg_catalog.string_to_table(c.words, '|') WITH ORDINALITY AS a(words, alternative)
    WHERE pg_catalog.btrim(a.words) <> ''
$$;

-- One field of a stanza, NULL when it is not there. (One expression, so that it is inlined.)
CREATE FUNCTION app.field(stanza text, name text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT pg_catalog.substring(stanza, '(?n)^' || name || ': (.*)$')
$$;

-- The exact pins of one stanza: "Depends" or "Pre-Depends: x (= v)", alone in its clause. A pin with
-- an alternative beside it leaves a choice, and is none.
CREATE FUNCTION app.pins(stanza text) RETURNS TABLE (pinned text, version text)
LANGUAGE sql IMMUTABLE AS $$
    SELECT pg_catalog.min(r.target), pg_catalog.min(r.version)
    FROM (VALUES ('Pre-Depends'), ('Depends')) AS f(name),
         app.relations(app.field(stanza, f.name)) AS r
    GROUP BY f.name, r.clause
    HAVING pg_catalog.count(*) = 1 AND pg_catalog.min(r.relation) = '='
$$;

-- Called once when the stanzas are there: finds the pins that lie on a circle. A pin from x to y does
-- when y, pin by pin, leads back to x; all the others have a first package to begin with, and end.
CREATE FUNCTION app.find_pin_cycles() RETURNS bigint
LANGUAGE sql AS $$
    WITH RECURSIVE pin AS MATERIALIZED (
        SELECT DISTINCT s.package, p.pinned
        FROM app.stanza AS s, app.pins(s.stanza) AS p, app.stanza AS t
        WHERE s.stanza ~ '\(\s*=' AND t.package = p.pinned AND t.version = p.version
    ), leads_to AS (
        SELECT package, pinned FROM pin
        UNION
        SELECT l.package, p.pinned FROM leads_to AS l, pin AS p WHERE p.package = l.pinned
    ), stored AS (
        INSERT INTO app.pin_cycle
        SELECT p.package, p.pinned FROM pin AS p, leads_to AS l
        WHERE l.package = p.pinned AND l.pinned = p.package
        RETURNING 1
    )
    SELECT pg_catalog.count(*) FROM stored
$$;

-- The work: one package. It writes everything first and looks at the pins last, so that an attempt
-- that raises has effects to lose: if one of them survived, the counts of report.sql would show it.
CREATE FUNCTION app.index_package(payload jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    pkg     text := payload->>'package';
    wanted  app.stanza;
    field   text;
    list    text;
    added   bigint;
    links   bigint := 0;
    missing text;
BEGIN
    PERFORM nextval('app.tries');
    SELECT * INTO STRICT wanted FROM app.stanza AS s WHERE s.package = pkg;

    INSERT INTO app.package VALUES (pkg, wanted.version,
        coalesce(app.field(wanted.stanza, 'Architecture'), 'unknown'),
        coalesce(app.field(wanted.stanza, 'Section'), 'unknown'),
        coalesce(app.field(wanted.stanza, 'Installed-Size')::bigint, 0),
        coalesce(app.field(wanted.stanza, 'Size')::bigint, 0));

    FOREACH field IN ARRAY ARRAY['Pre-Depends', 'Depends'] LOOP
        list := app.field(wanted.stanza, field);
        CONTINUE WHEN list IS NULL;
        INSERT INTO app.dependency
        SELECT pkg, field, r.clause, r.alternative, r.target, r.relation, r.version
        FROM app.relations(list) AS r;
        GET DIAGNOSTICS added = ROW_COUNT;
        links := links + added;
    END LOOP;

    list := app.field(wanted.stanza, 'Provides');
    IF list IS NOT NULL THEN
        INSERT INTO app.provision SELECT pkg, r.target, r.version FROM app.relations(list) AS r;
    END IF;

    INSERT INTO app.ledger (package, version) VALUES (pkg, wanted.version);

    -- Each statement of a function like this one sees what others have committed by then, and what
    -- the runs before it in the same transaction did. A package that another run is just indexing is
    -- not seen yet: then this run is tried again a little later.
    IF wanted.stanza ~ '\(\s*=' THEN
        SELECT string_agg(format('%s (= %s)', p.pinned, p.version), ', ' ORDER BY p.pinned)
        INTO missing
        FROM app.pins(wanted.stanza) AS p
        JOIN app.stanza AS s ON s.package = p.pinned AND s.version = p.version
        WHERE NOT EXISTS (SELECT FROM app.package AS i WHERE i.package = p.pinned)
          AND NOT EXISTS (SELECT FROM app.pin_cycle AS c
                          WHERE c.package = pkg AND c.pinned = p.pinned);
        IF missing IS NOT NULL THEN
            RAISE EXCEPTION '% pins what is not indexed yet: %', pkg, missing
                USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
    END IF;

    RETURN jsonb_build_object('package', pkg, 'dependencies', links);
END
$$;

-- The last run: everything the report says, as one jsonb value in one order.
CREATE FUNCTION app.archive_report(payload jsonb) RETURNS jsonb
LANGUAGE sql AS $$
    WITH named AS MATERIALIZED (              -- what a dependency can be met by
        SELECT package AS name FROM app.package
        UNION
        SELECT name FROM app.provision
    ), unmet AS MATERIALIZED (                -- clauses none of whose alternatives is anywhere
        SELECT d.package, d.field, d.clause,
               pg_catalog.string_agg(d.target, ' | ' ORDER BY d.alternative) AS wants
        FROM app.dependency AS d LEFT JOIN named AS n ON n.name = d.target
        GROUP BY d.package, d.field, d.clause
        HAVING pg_catalog.count(n.name) = 0
    ), section AS (
        SELECT section, pg_catalog.count(*) AS packages,
               pg_catalog.sum(installed_kib) AS installed_kib, pg_catalog.sum(download) AS download
        FROM app.package GROUP BY section
    ), popular AS (
        SELECT d.target, pg_catalog.count(DISTINCT d.package) AS dependents
        FROM app.dependency AS d JOIN app.package AS p ON p.package = d.target
        GROUP BY d.target ORDER BY dependents DESC, d.target COLLATE "C" LIMIT 10
    ), wanted AS (
        SELECT wants, pg_catalog.count(*) AS clauses,
               pg_catalog.count(DISTINCT package) AS packages
        FROM unmet GROUP BY wants ORDER BY clauses DESC, wants COLLATE "C" LIMIT 10
    )
    SELECT pg_catalog.jsonb_build_object(
        'packages',      (SELECT pg_catalog.count(*) FROM app.package),
        'alternatives',  (SELECT pg_catalog.count(*) FROM app.dependency),
        'provisions',    (SELECT pg_catalog.count(*) FROM app.provision),
        'installed_kib', (SELECT pg_catalog.sum(installed_kib) FROM app.package),
        'download',      (SELECT pg_catalog.sum(download) FROM app.package),
        'sections',      (SELECT pg_catalog.jsonb_agg(s ORDER BY s.installed_kib DESC, s.section COLLATE "C")
                          FROM section AS s),
        'popular',       (SELECT pg_catalog.jsonb_agg(p ORDER BY p.dependents DESC, p.target COLLATE "C")
                          FROM popular AS p),
        'unmet_clauses', (SELECT pg_catalog.count(*) FROM unmet),
        'unmet_packages',(SELECT pg_catalog.count(DISTINCT package) FROM unmet),
        'unmet',         (SELECT pg_catalog.jsonb_agg(w ORDER BY w.clauses DESC, w.wants COLLATE "C")
                          FROM wanted AS w),
        -- Stands for every row of the four tables: one row more, less or other, and it changes.
        'fingerprint',   pg_catalog.md5(pg_catalog.concat(
            (SELECT pg_catalog.md5(pg_catalog.string_agg(p::text, E'\n' ORDER BY p.package COLLATE "C"))
             FROM app.package AS p),
            (SELECT pg_catalog.md5(pg_catalog.string_agg(d::text, E'\n'
                ORDER BY d.package COLLATE "C", d.field COLLATE "C", d.clause, d.alternative))
             FROM app.dependency AS d),
            (SELECT pg_catalog.md5(pg_catalog.string_agg(v::text, E'\n' ORDER BY v::text COLLATE "C"))
             FROM app.provision AS v),
            (SELECT pg_catalog.md5(pg_catalog.string_agg(l.package || ' ' || l.version, E'\n'
                ORDER BY l.package COLLATE "C"))
             FROM app.ledger AS l))))
$$;

-- Wrong on purpose: the mirror it is told to read is not there, and never will be.
CREATE FUNCTION app.broken_mirror(payload jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'mirror "%" has no package list', payload->>'mirror'
        USING ERRCODE = 'no_data_found',
              HINT = 'This task is wrong on purpose: its run has to end FAILED, with this message.';
END
$$;

-- A pin is met as soon as the other package is through, mostly moments later, at the latest when the
-- archive is. So the first delay is short, the longest is half a second (a chain of pins, of which the
-- archive has some ten deep, then ends seconds after the rest), and the attempts are many: together
-- they last far longer than the slowest machine needs, and only a pin that never can be met uses them up.
SELECT triggerdo.define_task('index-package', run => 'app.index_package',
    retry => triggerdo.retry_policy(max_attempts => 1000, backoff => 'exponential',
                                    min_delay => '100 ms', max_delay => '500 ms')) AS task
UNION ALL
SELECT triggerdo.define_task('archive-report', run => 'app.archive_report')
UNION ALL
SELECT triggerdo.define_task('broken-mirror', run => 'app.broken_mirror',
    retry => triggerdo.retry_policy(max_attempts => 2, backoff => 'fixed',
                                    min_delay => '100 ms', max_delay => '100 ms'));
