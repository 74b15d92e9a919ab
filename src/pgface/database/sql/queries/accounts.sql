-- Accounts: passwords, logins, keys, administrators and the audit log.

-- find_password --
SELECT user_id, blank FROM find_password(%(spellings)s);

-- confirm_password --
SELECT confirm_password(%(id)s, %(proofs)s);

-- set_password --
SELECT set_password(%(id)s, %(password)s, %(proof)s, %(authority)s);

-- has_password --
SELECT has_password(%(id)s);

-- password_kinds --
SELECT password_kinds(%(but)s);

-- count_attempt --
-- Counts an attempt as failed before it is made, so that parallel attempts all count. Returns no row if the subject has to wait.
-- After max_failures, each failure doubles the wait, up to max_wait. After a time without failures, counting starts again.
-- EXCLUDED.last_failure is the present time: a distributed PostgreSQL allows no volatile function here.
INSERT INTO login_attempts AS a (subject, method, failures, last_failure)
VALUES (%(subject)s, %(method)s, 1, clock_timestamp())
ON CONFLICT (subject, method) DO UPDATE
SET failures = CASE
        WHEN EXCLUDED.last_failure - a.last_failure > make_interval(secs => %(reset_after)s) THEN 1
        ELSE a.failures + 1
    END,
    last_failure = greatest(a.last_failure, EXCLUDED.last_failure)
WHERE a.failures < %(max_failures)s
    OR EXCLUDED.last_failure - a.last_failure
        >= make_interval(secs => least(%(max_wait)s, %(first_wait)s * 2.0 ^ least(a.failures - %(max_failures)s, 30)))
RETURNING failures;

-- seconds_to_wait --
SELECT ceil(extract(epoch FROM
    a.last_failure
    + make_interval(secs => least(%(max_wait)s, %(first_wait)s * 2.0 ^ least(a.failures - %(max_failures)s, 30)))
    - clock_timestamp()
))::integer
FROM login_attempts a
WHERE a.subject = %(subject)s
    AND a.method = %(method)s;

-- reset_attempts --
DELETE FROM login_attempts WHERE subject = %(subject)s AND method = %(method)s;

-- uncount_attempt --
UPDATE login_attempts SET failures = greatest(failures - 1, 0) WHERE subject = %(subject)s AND method = %(method)s;

-- prune_attempts --
DELETE FROM login_attempts WHERE last_failure < statement_timestamp() - make_interval(secs => %(reset_after)s);

-- begin_session --
SELECT begin_session(
    %(user_id)s, %(token)s, %(confidence)s::real, %(password_given)s, %(proof)s, %(seconds)s::float
);

-- find_session --
SELECT id, user_id, name, email, confidence, password_given, created_at, expires_at
FROM find_session(%(token)s);

-- select_sessions_of_user --
SELECT t.id, t.confidence, t.password_given IS TRUE AS password_given, t.created_at, t.expires_at
FROM auth_tokens t
WHERE t.user_id = %(user_id)s
    AND t.is_active
    AND (t.expires_at IS NULL OR t.expires_at > LOCALTIMESTAMP)
ORDER BY t.id;

-- end_sessions --
-- Returns the user of each ended session.
SELECT end_sessions(%(user_id)s, %(id)s, %(token)s, %(but)s);

-- prune_tokens --
DELETE FROM auth_tokens
WHERE NOT is_active
    OR is_active IS NULL
    OR expires_at <= LOCALTIMESTAMP;

-- record_event --
SELECT record_event(
    %(event)s, %(refused)s, %(actor)s, %(user_id)s, %(key_id)s, %(address)s::inet, %(similarity)s::real
);

-- select_audit --
-- Newest first.
SELECT id, at, event, outcome, reason, actor, user_id, key_id, host(address) AS address, similarity, count, last_at
FROM audit_log
WHERE (%(user_id)s::integer IS NULL OR user_id = %(user_id)s)
    AND (%(users)s::integer[] IS NULL OR user_id = ANY (%(users)s))
    AND (%(event)s::text IS NULL OR event = %(event)s)
    AND (%(outcome)s::text IS NULL OR outcome = %(outcome)s)
    AND (%(before)s::bigint IS NULL OR id < %(before)s)
ORDER BY id DESC
LIMIT %(limit)s;

-- select_addresses_of_tokens --
-- The address of the login of each session. The session and its audit row are one transaction, so their times are close.
SELECT t.id, host(a.address)
FROM auth_tokens t
CROSS JOIN LATERAL (
    SELECT address
    FROM audit_log
    WHERE user_id = t.user_id
        AND at >= t.created_at::timestamptz
        AND at < t.created_at::timestamptz + interval '10 seconds'
        AND event IN ('login by password', 'login by face')
        AND outcome = 'done'
    ORDER BY at
    LIMIT 1
) a
WHERE t.user_id = %(user_id)s
    AND t.is_active
    AND a.address IS NOT NULL;

-- prune_audit --
SELECT prune_audit_log(%(days)s);

-- create_key --
SELECT id, name, scopes, created_at, last_used_at, revoked_at
FROM create_api_key(%(name)s, %(key)s, %(scopes)s, %(authority)s);

-- find_key --
SELECT f.*, k.all_galleries
FROM find_api_key(%(key)s) f
JOIN api_keys k ON k.id = f.id;

-- select_keys --
SELECT k.id, k.name, k.scopes, k.created_at, k.last_used_at, k.revoked_at, k.all_galleries, a.access_key_id
FROM api_keys k
LEFT JOIN access_keys a ON a.key_id = k.id
ORDER BY k.id;

-- add_access_key --
SELECT add_access_key(%(id)s, %(key_id)s, %(encrypted)s, %(authority)s);

-- find_access_key --
SELECT id, name, scopes, created_at, last_used_at, revoked_at, all_galleries, encrypted_secret
FROM find_access_key(%(id)s);

-- open_all_galleries --
SELECT open_all_galleries(%(id)s, %(authority)s);

-- revoke_key --
SELECT revoke_api_key(%(id)s, %(authority)s);

-- keep_secret --
-- The first secret stays.
INSERT INTO service_secrets (name, secret) VALUES (%(name)s, %(secret)s) ON CONFLICT DO NOTHING;

-- select_secret --
SELECT secret FROM service_secrets WHERE name = %(name)s;

-- add_challenge --
INSERT INTO login_challenges (id, ends_at, state)
VALUES (%(id)s, clock_timestamp() + make_interval(secs => %(seconds)s), %(state)s);

-- take_challenge --
-- Only one request can take a challenge. It puts the challenge back with a new state, or deletes it by not doing so.
DELETE FROM login_challenges
WHERE id = %(id)s AND ends_at > statement_timestamp()
RETURNING state, ends_at, hints;

-- put_challenge_back --
INSERT INTO login_challenges (id, ends_at, hints, state)
VALUES (%(id)s, %(ends_at)s, %(hints)s, %(state)s);

-- count_hint --
-- Returns no row if there is no such challenge, or if it has had all its hints.
UPDATE login_challenges
SET hints = hints + 1
WHERE id = %(id)s AND ends_at > statement_timestamp() AND hints < %(most)s
RETURNING hints;

-- prune_challenges --
DELETE FROM login_challenges WHERE ends_at < statement_timestamp();

-- add_liveness_session --
-- Returns no row if there are too many.
INSERT INTO liveness_sessions (id, ends_at, state)
SELECT %(id)s, clock_timestamp() + make_interval(secs => %(seconds)s), %(state)s
WHERE %(most)s > (SELECT count(*) FROM liveness_sessions WHERE ends_at > statement_timestamp())
RETURNING id;

-- take_liveness_session --
-- Only one request can take the state of a session. It puts the state back, or ends the session.
WITH taken AS (
    SELECT id, state
    FROM liveness_sessions
    WHERE id = %(id)s
        AND ends_at > statement_timestamp()
        AND status IN ('CREATED', 'IN_PROGRESS')
        AND state IS NOT NULL
    FOR UPDATE
)
UPDATE liveness_sessions s
SET status = 'IN_PROGRESS', state = NULL
FROM taken
WHERE s.id = taken.id
RETURNING taken.state;

-- put_liveness_session_back --
UPDATE liveness_sessions
SET state = %(state)s
WHERE id = %(id)s AND status = 'IN_PROGRESS' AND ends_at > statement_timestamp();

-- end_liveness_session --
UPDATE liveness_sessions
SET status = %(status)s, state = %(state)s, ends_at = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE id = %(id)s AND status = 'IN_PROGRESS' AND ends_at > statement_timestamp()
RETURNING id;

-- select_liveness_session --
SELECT CASE WHEN ends_at > statement_timestamp() THEN status ELSE 'EXPIRED' END, state
FROM liveness_sessions
WHERE id = %(id)s AND ends_at > statement_timestamp() - make_interval(secs => %(known)s);

-- count_liveness_hint --
UPDATE liveness_sessions
SET hints = hints + 1
WHERE id = %(id)s
    AND ends_at > statement_timestamp()
    AND status IN ('CREATED', 'IN_PROGRESS')
    AND hints < %(most)s
RETURNING hints;

-- clear_liveness_sessions --
-- Requests do this at the same time, so each skips the rows of others.
UPDATE liveness_sessions
SET state = NULL
WHERE id IN (
    SELECT id FROM liveness_sessions WHERE ends_at <= statement_timestamp() AND state IS NOT NULL FOR UPDATE SKIP LOCKED
);

-- delete_liveness_sessions --
DELETE FROM liveness_sessions
WHERE id IN (
    SELECT id
    FROM liveness_sessions
    WHERE ends_at <= statement_timestamp() - make_interval(secs => %(known)s)
    FOR UPDATE SKIP LOCKED
);

-- lock_liveness_frames --
LOCK TABLE liveness_frames IN SHARE ROW EXCLUSIVE MODE;

-- add_liveness_frames --
INSERT INTO liveness_frames (ends_at, digests)
SELECT clock_timestamp() + make_interval(secs => %(seconds)s), %(digests)s::bigint[];

-- delete_liveness_frames --
DELETE FROM liveness_frames
WHERE id IN (SELECT id FROM liveness_frames WHERE ends_at <= statement_timestamp() FOR UPDATE SKIP LOCKED);

-- known_frame_digests --
SELECT DISTINCT digest
FROM (
    SELECT digests FROM used_frames WHERE digests && %(digests)s::bigint[]
    UNION ALL
    SELECT digests FROM liveness_frames WHERE digests && %(digests)s::bigint[]
) AS f, unnest(f.digests) AS digest
WHERE digest = ANY (%(digests)s::bigint[]);

-- lock_user --
SELECT id FROM users WHERE id = %(id)s FOR NO KEY UPDATE;

-- add_used_frames --
INSERT INTO used_frames (user_id, digests)
SELECT %(user_id)s, %(digests)s::bigint[]
WHERE EXISTS (SELECT FROM face_embeddings fe WHERE fe.user_id = %(user_id)s)
    OR EXISTS (SELECT FROM contested_faces c WHERE c.user_id = %(user_id)s);

-- add_administrator --
INSERT INTO administrators (user_id) VALUES (%(user_id)s) ON CONFLICT DO NOTHING RETURNING user_id;

-- add_administrator_of_all --
INSERT INTO administrators (user_id, all_galleries) VALUES (%(user_id)s, TRUE)
ON CONFLICT (user_id) DO UPDATE SET all_galleries = TRUE WHERE NOT administrators.all_galleries
RETURNING user_id;

-- remove_administrator --
DELETE FROM administrators WHERE user_id = %(user_id)s RETURNING user_id;

-- administrator_rights --
-- A row for an administrator: whether they administer all galleries.
SELECT all_galleries FROM administrators WHERE user_id = %(user_id)s;

-- select_administrators --
SELECT u.id, u.name, u.email, a.since, a.all_galleries
FROM administrators a
JOIN users u ON u.id = a.user_id
ORDER BY u.id;

-- find_device --
-- The device of these that is known for the account, if any.
SELECT d.token
FROM known_devices d
JOIN users u ON u.id = d.user_id
WHERE d.token = ANY (%(tokens)s)
    AND lower(u.email) = ANY (%(spellings)s)
LIMIT 1;

-- delete_devices --
DELETE FROM known_devices WHERE user_id = %(user_id)s AND token = ANY (%(tokens)s) RETURNING token;

-- add_device --
INSERT INTO known_devices (user_id, token) VALUES (%(user_id)s, %(token)s);

-- delete_older_devices --
-- The newest ones stay.
DELETE FROM known_devices
WHERE user_id = %(user_id)s
    AND id NOT IN (SELECT id FROM known_devices WHERE user_id = %(user_id)s ORDER BY id DESC LIMIT %(most)s);

-- delete_other_devices --
DELETE FROM known_devices WHERE user_id = %(user_id)s AND token <> ALL (%(tokens)s);

-- prune_devices --
DELETE FROM known_devices WHERE used_at < now() - make_interval(days => %(days)s);
