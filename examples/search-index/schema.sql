-- Job: the tables of the example, owned by the ordinary role app. Run as app, once, before tasks.sql.
\set ON_ERROR_STOP on
GRANT USAGE ON SCHEMA app TO editor;

-- What is written, by whoever may.
CREATE TABLE app.document (
    id          int  PRIMARY KEY,
    package     text NOT NULL UNIQUE,
    section     text NOT NULL,
    summary     text NOT NULL,
    description text NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON app.document TO editor;

-- What is searched: one row for each document that has words to be found by. Only runs write it.
-- (recipe and lexemes are NULL within a run only, which takes the row first and fills it then.)
CREATE TABLE app.search (
    document int PRIMARY KEY,
    recipe   int,
    lexemes  tsvector CONSTRAINT has_words CHECK (lexemes <> '')
);
CREATE INDEX search_lexemes ON app.search USING gin (lexemes);

-- Of what the lexemes are made. Recipe 1 knows summaries only; 2 looks into descriptions, too.
CREATE TABLE app.recipe (current int NOT NULL);
INSERT INTO app.recipe VALUES (1);

CREATE FUNCTION app.lexemes(d app.document, recipe int) RETURNS tsvector
LANGUAGE sql IMMUTABLE AS $$
    SELECT pg_catalog.setweight(pg_catalog.to_tsvector('pg_catalog.english', d.summary), 'A')
        || CASE WHEN recipe > 1
                THEN pg_catalog.setweight(pg_catalog.to_tsvector('pg_catalog.english', d.description), 'C')
                ELSE '' END
$$;

-- Where the search table is not what it were if it were made anew, row for row. Nowhere, once all runs
-- are done.
CREATE VIEW app.out_of_step AS
WITH made AS MATERIALIZED (
    SELECT d.id AS document, r.current AS recipe, app.lexemes(d, r.current) AS lexemes
    FROM app.document AS d, app.recipe AS r
), wanted AS (
    SELECT * FROM made WHERE lexemes <> ''
)
SELECT 'missing' AS what, w.* FROM (TABLE wanted EXCEPT ALL TABLE app.search) AS w
UNION ALL
SELECT 'too many', s.* FROM (TABLE app.search EXCEPT ALL TABLE wanted) AS s;

CREATE FUNCTION app.find(words text) RETURNS TABLE (package text, summary text, rank real)
LANGUAGE sql STABLE AS $$
    SELECT d.package, d.summary, pg_catalog.ts_rank(s.lexemes, q.query)
    FROM pg_catalog.websearch_to_tsquery('pg_catalog.english', words) AS q(query)
    JOIN app.search AS s ON s.lexemes @@ q.query
    JOIN app.document AS d ON d.id = s.document
    ORDER BY 3 DESC, d.package COLLATE "C"
$$;

-- What the hook counts: a line for each run that failed. No key: what is counted twice is seen.
CREATE TABLE app.failure (
    run      uuid NOT NULL,
    document int  NOT NULL,
    sqlstate text NOT NULL,
    message  text NOT NULL
);

-- For check.sql, which holds the runs against what really happened. Each run that indexes writes a
-- line, and nothing would stop a second.
CREATE TABLE app.ledger (
    run       uuid  NOT NULL,
    documents int[] NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- Rows changed, as their writers counted them, in the same transactions.
CREATE TABLE app.changed (
    operation text   NOT NULL,
    number    bigint NOT NULL,
    poisoned  bool   NOT NULL DEFAULT false     -- the new text has no word to be found by
);
GRANT INSERT ON app.changed TO editor;
-- How many documents a query found, by what recipe.
CREATE TABLE app.hits (
    query  text   NOT NULL,
    recipe int    NOT NULL,
    hits   bigint NOT NULL
);

-- What was asked for and refused.
CREATE TABLE app.refusal (
    number   int GENERATED ALWAYS AS IDENTITY,
    asker    text NOT NULL DEFAULT current_user,
    what     text NOT NULL,
    sqlstate text NOT NULL,
    message  text NOT NULL,
    detail   text NOT NULL,
    hint     text NOT NULL
);
GRANT INSERT ON app.refusal TO editor;

CREATE FUNCTION app.attempt(what text, statement text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    message text;
    detail  text;
    hint    text;
BEGIN
    EXECUTE statement;
    INSERT INTO app.refusal (what, sqlstate, message, detail, hint) VALUES (what, '00000', 'accepted', '', '');
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    INSERT INTO app.refusal (what, sqlstate, message, detail, hint) VALUES (what, SQLSTATE, message, detail, hint);
END
$$;
