-- users_by_signs(query_embedding, effort, max_users)
-- As before, in three quarters of the time: only templates that have more signs in common with the probe than most are sorted.
CREATE OR REPLACE FUNCTION users_by_signs(
    query_embedding vector(512),
    effort integer,
    max_users integer
)
RETURNS INTEGER[]
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    -- Two strangers differ in 256 signs of 512 on average, and one in thirteen pairs in fewer than this.
    near CONSTANT integer := 240;
    probe halfvec(512) := l2_normalize(query_embedding)::halfvec(512);
    probe_bits bit(512) := binary_quantize(query_embedding)::bit(512);
    nearest BIGINT[];
BEGIN
    -- hamming_distance and not its operator, which an index on the bits would offer to order by.
    nearest := ARRAY(
        SELECT b.template_id
        FROM template_bits b
        WHERE hamming_distance(b.bits, probe_bits) < near
        ORDER BY hamming_distance(b.bits, probe_bits)
        LIMIT effort
    );
    IF cardinality(nearest) < effort THEN
        nearest := ARRAY(
            SELECT b.template_id FROM template_bits b ORDER BY hamming_distance(b.bits, probe_bits) LIMIT effort
        );
    END IF;
    RETURN nearest_users(probe, nearest, max_users);
END;
$$;
