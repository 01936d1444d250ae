-- The table at the end of bench/run. It has put the raw figures (figure,
-- repetition, value) into the temporary table raw.

\pset border 2
\pset linestyle unicode
\pset null ''
\pset footer off

-- One value for a figure and repetition; of graphile-worker's two set-ups the
-- faster one stands for it.
CREATE TEMP VIEW per_rep AS
WITH v AS (
    SELECT figure, rep, percentile_cont(0.5) WITHIN GROUP (ORDER BY value)::numeric AS value
    FROM raw GROUP BY figure, rep
)
SELECT figure, rep, value FROM v
UNION ALL
SELECT CASE WHEN figure LIKE '%wall' THEN 'graphile_wall' ELSE 'graphile' END, rep, max(value)
FROM v WHERE figure IN ('graphile1', 'graphile2', 'graphile1_wall', 'graphile2_wall')
GROUP BY 1, 2;

CREATE TEMP TABLE layout (
    pos     int GENERATED ALWAYS AS IDENTITY,
    figure  text,           -- in raw
    label   text,
    unit    text,
    bare    text,           -- the figure of bare PostgreSQL that does the like
    commits bool,           -- also in multiples of one-row commits?
    peer    text,           -- graphile-worker's
    bar     numeric,        -- of a rate: the least ratio to bare; of a time: the most
    part    text            -- the table it stands in
);
INSERT INTO layout (figure, label, unit, bare, commits, peer, bar, part) VALUES
    ('bare_commit',             'bare: insert a row, commit; 8 clients',        '/s', NULL, false, NULL, NULL, 'drain'),
    ('bare_drain_noop',         'bare: claim, delete, result; 100 a commit',    '/s', NULL, true, NULL, NULL, 'drain'),
    ('burn_noop',               'triggerdo: no-op runs, with history',          '/s', 'bare_drain_noop', true, 'graphile', NULL, 'drain'),
    ('burn_noop_wall',          '   with starting the executors',               '/s', 'bare_drain_noop', true, 'graphile_wall', NULL, 'drain'),
    ('graphile1',               'graphile-worker, 1 process: no-op, no history', '/s', 'bare_drain_noop', true, NULL, NULL, 'drain'),
    ('graphile1_wall',          '   with starting the process',                 '/s', 'bare_drain_noop', true, NULL, NULL, 'drain'),
    ('graphile2',               'graphile-worker, 2 processes',                 '/s', 'bare_drain_noop', true, NULL, NULL, 'drain'),
    ('graphile2_wall',          '   with starting the processes',               '/s', 'bare_drain_noop', true, NULL, NULL, 'drain'),
    ('bare_drain_write',        'bare: the same, and a row written by each job', '/s', NULL, true, NULL, NULL, 'drain'),
    ('burn_write',              'triggerdo: runs that write a row',             '/s', 'bare_drain_write', true, NULL, NULL, 'drain'),
    ('burn_write_wall',         '   with starting the executors',               '/s', 'bare_drain_write', true, NULL, NULL, 'drain'),
    ('bare_bulk',               'bare: INSERT ... SELECT, one statement',       '/s', NULL, false, NULL, NULL, 'enqueue'),
    ('enqueue_bulk',            'triggerdo: trigger_task, one statement',       '/s', 'bare_bulk', false, 'graphile_bulk', NULL, 'enqueue'),
    ('graphile_bulk',           'graphile-worker: add_jobs, one statement',     '/s', 'bare_bulk', false, NULL, NULL, 'enqueue'),
    ('bare_enqueue',            'bare: insert a row, commit; 8 clients',        '/s', NULL, false, NULL, NULL, 'enqueue'),
    ('enqueue_commit',          'triggerdo: trigger_task, commit; 8 clients',   '/s', 'bare_enqueue', false, NULL, 0.75, 'enqueue'),
    ('change_bare',             'bare: INSERT ... SELECT, a row',               'us', NULL, false, NULL, NULL, 'change'),
    ('change_row',              'triggerdo: the same with on_change, a row',    'us', 'change_bare', false, NULL, NULL, 'change'),
    ('change_adds',             '   what the run adds to a row',                'us', NULL, false, NULL, 25, 'change'),
    ('bare_latency_p50',        'bare: insert and commit, p50',                 'ms', NULL, false, NULL, NULL, 'latency'),
    ('bare_latency_p99',        'bare: insert and commit, p99',                 'ms', NULL, false, NULL, NULL, 'latency'),
    ('commit_start_p50',        'triggerdo: COMMIT -> start, p50',              'ms', 'bare_latency_p50', false, NULL, 1, 'latency'),
    ('commit_start_p99',        'triggerdo: COMMIT -> start, p99',              'ms', 'bare_latency_p99', false, NULL, NULL, 'latency'),
    ('call_start_p50',          'triggerdo: trigger_task -> start, p50',        'ms', 'bare_latency_p50', false, NULL, NULL, 'latency'),
    ('call_start_p99',          'triggerdo: trigger_task -> start, p99',        'ms', 'bare_latency_p99', false, NULL, NULL, 'latency'),
    ('committed_start_p50',     'triggerdo: COMMIT returned -> start, p50',     'ms', NULL, false, NULL, NULL, 'latency'),
    ('committed_start_p99',     'triggerdo: COMMIT returned -> start, p99',     'ms', NULL, false, NULL, NULL, 'latency'),
    ('send_start_p50',          'triggerdo: client sends -> start, p50',        'ms', NULL, false, 'graphile_send_start_p50', NULL, 'latency'),
    ('send_start_p99',          'triggerdo: client sends -> start, p99',        'ms', NULL, false, 'graphile_send_start_p99', NULL, 'latency'),
    ('graphile_send_start_p50', 'graphile-worker: client sends -> start, p50',  'ms', NULL, false, NULL, NULL, 'latency'),
    ('graphile_send_start_p99', 'graphile-worker: client sends -> start, p99',  'ms', NULL, false, NULL, NULL, 'latency');

-- Never a ratio of medians: a median of ratios, each within one repetition.
CREATE FUNCTION pg_temp.ratio(a text, b text) RETURNS numeric LANGUAGE sql AS $$
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY x.value / nullif(y.value, 0))::numeric
    FROM per_rep x JOIN per_rep y USING (rep) WHERE x.figure = a AND y.figure = b
$$;
CREATE FUNCTION pg_temp.show(x numeric, unit text) RETURNS text LANGUAGE sql AS $$
    SELECT CASE unit WHEN '/s' THEN to_char(x, 'FM999,999,990') ELSE to_char(x, 'FM999,990.00') END
$$;

CREATE TEMP VIEW lines AS
SELECT l.pos, l.part, l.label,
    format('%s (%s - %s) %s', pg_temp.show(m.med, l.unit), pg_temp.show(m.lo, l.unit),
        pg_temp.show(m.hi, l.unit), l.unit) AS measured,
    round(pg_temp.ratio(l.figure, l.bare), 2) AS bare,
    CASE WHEN l.commits THEN round(pg_temp.ratio(l.figure, 'bare_commit'), 1) END AS commits,
    round(pg_temp.ratio(l.figure, l.peer), 2) AS peer,
    CASE WHEN l.bar IS NULL THEN NULL
         WHEN l.unit = '/s' THEN format('>= %s of bare: ', l.bar)
            || CASE WHEN pg_temp.ratio(l.figure, l.bare) >= l.bar THEN 'met' ELSE 'MISSED' END
         ELSE format('<= %s %s: ', l.bar, l.unit) || CASE WHEN m.med <= l.bar THEN 'met' ELSE 'MISSED' END
    END AS bar
FROM layout l
JOIN (SELECT figure, percentile_cont(0.5) WITHIN GROUP (ORDER BY value)::numeric AS med,
             min(value) AS lo, max(value) AS hi
      FROM per_rep GROUP BY figure) m USING (figure);

SELECT bool_or(part = 'drain') AS drain, bool_or(part = 'enqueue') AS enqueue,
    bool_or(part = 'change') AS change, bool_or(part = 'latency') AS latency
FROM lines \gset

\if :drain
SELECT label AS "runs done", measured AS "median (min - max)", bare AS "/ bare", commits AS "/ commits",
    peer AS "/ graphile"
FROM lines WHERE part = 'drain' ORDER BY pos;
\endif
\if :enqueue
SELECT label AS "runs enqueued", measured AS "median (min - max)", bare AS "/ bare",
    peer AS "/ graphile", bar
FROM lines WHERE part = 'enqueue' ORDER BY pos;
\endif
\if :change
SELECT label AS "row changes", measured AS "median (min - max)", bare AS "/ bare", bar
FROM lines WHERE part = 'change' ORDER BY pos;
\endif
\if :latency
SELECT label AS "latency, idle", measured AS "median (min - max)", bare AS "/ bare",
    peer AS "/ graphile", bar
FROM lines WHERE part = 'latency' ORDER BY pos;
\endif
