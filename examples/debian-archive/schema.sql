-- Job: the tables of the example, owned by the ordinary role app. Run as app, once, before tasks.sql.
-- Keys are few on purpose. A key would turn a second effect into an error or hide it behind ON
-- CONFLICT; without one it would stand there and be counted. So only app.package has a key, and
-- app.ledger, app.dependency and app.provision would show every row that was written twice.
\set ON_ERROR_STOP on

-- What is to be indexed, as `load` wrote it: one stanza per package, in the order of the archive.
CREATE TABLE app.stanza (
    position int  NOT NULL,
    package  text PRIMARY KEY,
    version  text NOT NULL,
    stanza   text NOT NULL
);

-- Exact pins that nobody can wait for, because waiting would come round to where it began.
CREATE TABLE app.pin_cycle (
    package text NOT NULL,
    pinned  text NOT NULL,
    PRIMARY KEY (package, pinned)
);

-- What the runs write.
CREATE TABLE app.package (
    package       text PRIMARY KEY,
    version       text NOT NULL,
    architecture  text NOT NULL,
    section       text NOT NULL,
    installed_kib bigint NOT NULL,
    download      bigint NOT NULL               -- bytes; 0 in a status file, which does not know
);
-- One row per alternative: "Depends: a (>= 1) | b, c" is (1, 1, a, >=, 1), (1, 2, b), (2, 1, c).
CREATE TABLE app.dependency (
    package     text NOT NULL,
    field       text NOT NULL,                  -- Depends | Pre-Depends
    clause      int  NOT NULL,
    alternative int  NOT NULL,
    target      text NOT NULL,
    relation    text,
    version     text
);
CREATE TABLE app.provision (
    package text NOT NULL,
    name    text NOT NULL,
    version text                                -- "Provides: name (= version)"
);
-- The second count of the effects: every run writes one line here, and nothing would stop a second.
CREATE TABLE app.ledger (
    package text        NOT NULL,
    version text        NOT NULL,
    pid     int         NOT NULL DEFAULT pg_backend_pid(),
    at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- Counts attempts as they begin, for the progress line. What a sequence hands out is not taken back by
-- a rollback, so it can say what the tables cannot; for the same reason it is no number to rely on.
CREATE SEQUENCE app.tries;
