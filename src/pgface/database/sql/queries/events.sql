-- Events.

-- read_events --
-- With the cursor of the newest event, from the same snapshot. One row without an event if there is no event to return.
SELECT last_event_cursor() AS newest, e.cursor, e.id, e.at, e.kind, e.user_id, e.other_user_id, e.photo_id, e.matched,
    e.confidence, e.count
FROM (VALUES (1)) AS one
LEFT JOIN LATERAL read_events(%(after)s, %(limit)s, %(kinds)s) AS e ON TRUE;

-- last_event_cursor --
SELECT last_event_cursor();

-- record_searches --
SELECT record_searches(%(kind)s, %(users)s::integer[], %(matches)s::boolean[], %(confidences)s::real[]);

-- record_merge --
SELECT record_merge(%(id)s, %(into)s);

-- prune_events --
SELECT prune_events(%(days)s);
