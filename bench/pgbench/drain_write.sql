-- bare: as drain_noop.sql, and the row that each job is to write
WITH done AS (
    DELETE FROM bare.queue
    WHERE id = ANY (ARRAY(SELECT id FROM bare.queue ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 100))
    RETURNING id, payload
), written AS (
    INSERT INTO bare.sink (payload) SELECT payload FROM done
)
INSERT INTO bare.result (id, output) SELECT id, '{}' FROM done;
