-- Job: asks some queries of the search table and keeps how many documents each found. Run as app,
-- before and after the recipe changes.
\set ON_ERROR_STOP on
INSERT INTO app.hits (query, recipe, hits)
SELECT q.query, r.current, (SELECT count(*) FROM app.find(q.query))
FROM (VALUES ('text editor'), ('relational database'), ('compress files'), ('"regular expressions"'),
             ('debug or profile memory'), ('question')) AS q(query),
     app.recipe AS r;
