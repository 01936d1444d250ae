-- bare: claims and deletes 100 of a backlog, and keeps a result row of each.
-- (= ANY(ARRAY(...)) goes back by the primary key whatever the statistics say)
WITH done AS (
    DELETE FROM bare.queue
    WHERE id = ANY (ARRAY(SELECT id FROM bare.queue ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 100))
    RETURNING id
)
INSERT INTO bare.result (id, output) SELECT id, '{}' FROM done;
