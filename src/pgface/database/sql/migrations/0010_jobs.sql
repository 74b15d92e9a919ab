-- Long work in the background. The queue is procrastinate's, in a schema of its own. A job itself is a row of its gallery, so
-- that other galleries neither see it nor learn that it exists. The files of a job are here and not on a disk, so that a worker
-- on another host can read them.
CREATE TABLE IF NOT EXISTS jobs (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    -- The order of the jobs.
    number BIGINT UNIQUE GENERATED ALWAYS AS IDENTITY,
    kind TEXT NOT NULL CHECK (kind IN ('enroll', 'import', 'reembed', 'evaluate')),
    -- How to do it. It has no photo, embedding, password or token.
    options JSONB NOT NULL DEFAULT '{}',
    state TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    -- The caller's name in the audit log.
    created_by TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    started_at TIMESTAMPTZ,
    finished_at TIMESTAMPTZ,
    -- The number of the run. A worker that was taken for dead has an earlier one, and can no longer write.
    run INTEGER NOT NULL DEFAULT 0,
    -- Runs since the last progress. A photo that ends every worker must not do so forever.
    runs_without_progress INTEGER NOT NULL DEFAULT 0,
    total INTEGER NOT NULL DEFAULT 0,
    done INTEGER NOT NULL DEFAULT 0,
    enrolled INTEGER NOT NULL DEFAULT 0,
    already_enrolled INTEGER NOT NULL DEFAULT 0,
    refused INTEGER NOT NULL DEFAULT 0,
    -- Why it failed.
    error TEXT,
    reason TEXT,
    -- What an import, a change of the model or an evaluation returned.
    report JSONB
);

CREATE INDEX IF NOT EXISTS idx_jobs_unfinished ON jobs(id) WHERE state IN ('queued', 'running');

-- One row for each photo of an archive, from the start. Without an outcome, the photo was not processed yet.
CREATE TABLE IF NOT EXISTS job_results (
    job_id UUID NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    -- The path in the archive. NULL after the user was deleted.
    photo TEXT,
    outcome TEXT CHECK (outcome IN ('enrolled', 'already enrolled', 'refused', 'cancelled')),
    user_id INTEGER REFERENCES users(id) ON DELETE SET NULL,
    photo_id INTEGER REFERENCES photos(id) ON DELETE SET NULL,
    error TEXT,
    reason TEXT,
    PRIMARY KEY (job_id, position)
);

CREATE INDEX IF NOT EXISTS idx_job_results_user ON job_results(user_id) WHERE user_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_job_results_photo ON job_results(photo_id) WHERE photo_id IS NOT NULL;

-- The bytes of photos and exports that wait, in parts. Each is deleted in the transaction that has its result.
CREATE TABLE IF NOT EXISTS job_files (
    job_id UUID NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    part INTEGER NOT NULL,
    -- Photos are compressed already. The storage is set here, because a distributed PostgreSQL cannot change it later.
    data BYTEA STORAGE EXTERNAL NOT NULL,
    PRIMARY KEY (job_id, position, part)
);

CREATE OR REPLACE FUNCTION delete_names_in_jobs()
RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    UPDATE job_results r SET photo = NULL, reason = NULL WHERE r.user_id = OLD.id;
    RETURN OLD;
END;
$$;

COMMENT ON FUNCTION delete_names_in_jobs() IS
    'Internal: deletes the names of photos in the results of jobs together with their user.';

CREATE OR REPLACE TRIGGER delete_names_in_jobs
BEFORE DELETE ON users
FOR EACH ROW
EXECUTE FUNCTION delete_names_in_jobs();

CREATE OR REPLACE FUNCTION unfinished_jobs()
RETURNS TABLE(of_schema TEXT, job_id UUID)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    each TEXT;
BEGIN
    FOR each IN
        SELECT current_schema()::text
        UNION ALL
        SELECT g.schema_name FROM galleries g
        WHERE g.database_url IS NULL AND to_regclass(format('%I.jobs', g.schema_name)) IS NOT NULL
    LOOP
        RETURN QUERY EXECUTE format(
            'SELECT %1$L::text, id FROM %1$I.jobs WHERE state IN (''queued'', ''running'')', each
        );
    END LOOP;
END;
$$;

COMMENT ON FUNCTION unfinished_jobs() IS
    'Internal: the jobs that are not finished, in this gallery and in those of its registry on this database.';

REVOKE EXECUTE ON FUNCTION delete_names_in_jobs(), unfinished_jobs() FROM PUBLIC;
