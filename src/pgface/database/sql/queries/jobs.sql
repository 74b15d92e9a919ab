-- insert_job --
INSERT INTO jobs (kind, options, created_by) VALUES (%(kind)s, %(options)s, %(created_by)s) RETURNING id;

-- delete_job --
DELETE FROM jobs WHERE id = %(id)s;

-- insert_job_photo --
INSERT INTO job_results (job_id, position, photo) VALUES (%(job_id)s, %(position)s, %(photo)s);

-- insert_job_refusal --
INSERT INTO job_results (job_id, position, photo, outcome, error, reason)
VALUES (%(job_id)s, %(position)s, %(photo)s, 'refused', %(error)s, %(reason)s);

-- count_job_photos --
-- Also those that were refused before a worker saw them.
UPDATE jobs SET (total, done, refused) = (
    SELECT count(*), count(outcome), count(outcome) FROM job_results WHERE job_id = %(id)s
)
WHERE id = %(id)s;

-- insert_job_file --
INSERT INTO job_files (job_id, position, part, data) VALUES (%(job_id)s, %(position)s, %(part)s, %(data)s);

-- select_job_bytes --
-- How many bytes wait in the gallery.
SELECT coalesce(sum(octet_length(data)), 0)::bigint FROM job_files;

-- select_jobs --
-- The newest first.
SELECT id, number, kind, options, state, created_by, created_at, started_at, finished_at, total, done, enrolled, already_enrolled,
    refused, error, reason, report
FROM jobs
WHERE (%(id)s::uuid IS NULL OR id = %(id)s)
    AND (%(created_by)s::text IS NULL OR created_by = %(created_by)s)
    AND (%(state)s::text IS NULL OR state = %(state)s)
    AND (%(before)s::bigint IS NULL OR number < %(before)s)
ORDER BY number DESC
LIMIT %(limit)s;

-- select_job_results --
SELECT position, photo, outcome, user_id, photo_id, error, reason
FROM job_results
WHERE job_id = %(job_id)s AND position > %(after)s
ORDER BY position
LIMIT %(limit)s;

-- cancel_job --
-- Only a job that is not finished. The run that goes on can no longer write. A job with a report has changed the gallery.
UPDATE jobs SET state = 'cancelled', finished_at = now()
WHERE id = %(id)s AND state IN ('queued', 'running') AND report IS NULL;

-- cancel_job_photos --
UPDATE job_results SET outcome = 'cancelled' WHERE job_id = %(id)s AND outcome IS NULL;

-- delete_job_files --
DELETE FROM job_files WHERE job_id = %(id)s;

-- begin_job_run --
-- Takes a job over from an earlier run.
UPDATE jobs SET state = 'running', run = run + 1, runs_without_progress = runs_without_progress + 1,
    started_at = least(started_at, now()) -- the first start; Citus refuses now() in coalesce
WHERE id = %(id)s AND state IN ('queued', 'running')
RETURNING kind, options, created_by, run, runs_without_progress, report;

-- note_job_photo --
-- Counts the result of a photo, unless the run was taken over or the job was cancelled.
UPDATE jobs SET done = done + 1, runs_without_progress = 0,
    enrolled = enrolled + (%(outcome)s = 'enrolled')::integer,
    already_enrolled = already_enrolled + (%(outcome)s = 'already enrolled')::integer,
    refused = refused + (%(outcome)s = 'refused')::integer
WHERE id = %(id)s AND run = %(run)s AND state = 'running';

-- finish_job_photo --
UPDATE job_results SET outcome = %(outcome)s, user_id = %(user_id)s, photo_id = %(photo_id)s, error = %(error)s,
    reason = %(reason)s
WHERE job_id = %(id)s AND position = %(position)s AND outcome IS NULL;

-- delete_job_file --
DELETE FROM job_files WHERE job_id = %(id)s AND position = %(position)s;

-- next_job_photo --
SELECT r.position, r.photo, f.data
FROM job_results r
JOIN job_files f ON f.job_id = r.job_id AND f.position = r.position
WHERE r.job_id = %(id)s AND r.outcome IS NULL AND r.position > %(after)s
ORDER BY r.position
LIMIT 1;

-- select_job_parts --
SELECT part FROM job_files WHERE job_id = %(id)s AND position = %(position)s ORDER BY part;

-- select_job_part --
SELECT data FROM job_files WHERE job_id = %(id)s AND position = %(position)s AND part = %(part)s;

-- note_job_progress --
UPDATE jobs SET done = %(done)s, total = %(total)s, runs_without_progress = 0
WHERE id = %(id)s AND run = %(run)s AND state = 'running';

-- store_job_report --
-- In the transaction of what the job changes. A later run then changes nothing more.
UPDATE jobs SET report = %(report)s, runs_without_progress = 0
WHERE id = %(id)s AND run = %(run)s AND state = 'running';

-- finish_job --
UPDATE jobs SET state = %(state)s, error = %(error)s, reason = %(reason)s, report = coalesce(%(report)s, report),
    finished_at = now()
WHERE id = %(id)s AND run = %(run)s AND state = 'running';

-- expired_jobs --
-- Jobs that have not finished after so many days.
SELECT id FROM jobs
WHERE state IN ('queued', 'running') AND created_at < now() - make_interval(days => %(days)s);

-- delete_old_jobs --
DELETE FROM jobs WHERE finished_at < now() - make_interval(days => %(days)s);

-- unfinished_jobs --
SELECT of_schema, job_id FROM unfinished_jobs();

-- queue_version --
-- The version of procrastinate that made the queue.
SELECT obj_description(to_regnamespace(quote_ident(%(schema)s)), 'pg_namespace');

-- enter_queue --
SELECT set_config('search_path', quote_ident(%(schema)s) || ', pg_temp', true);

-- search_path --
SELECT current_setting('search_path');

-- restore_search_path --
SELECT set_config('search_path', %(path)s, true);

-- queued_jobs --
-- The jobs that wait in the queue or run. Names lead to the queue's schema.
SELECT args ->> 'job' FROM procrastinate_jobs WHERE status IN ('todo', 'doing');
