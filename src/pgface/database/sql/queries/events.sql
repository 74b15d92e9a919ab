-- Events.

-- read_events --
-- With the cursor of the newest event, from the same snapshot. One row without an event if there is no event to return.
SELECT p.newest, p.cursor, p.id, p.at, p.kind, p.user_id, p.other_user_id, p.photo_id, p.matched, p.confidence, p.count
FROM gallery g
CROSS JOIN LATERAL event_page_here(g.only_row, %(after)s, %(limit)s, %(kinds)s) AS p;

-- last_event_cursor --
SELECT last_event_cursor();

-- record_searches --
SELECT record_searches(%(kind)s, %(users)s::integer[], %(matches)s::boolean[], %(confidences)s::real[]);

-- record_merge --
SELECT record_merge(%(id)s, %(into)s);

-- prune_events --
SELECT prune_events(%(days)s);
