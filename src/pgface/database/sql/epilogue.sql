-- ================================================
-- SAMPLE DATA (optional, for a test)
-- ================================================
/*
INSERT INTO users (name, email, password) VALUES
    ('Admin User', 'admin@example.com', 'hashed_password_here'),
    ('Test User', 'test@example.com', 'hashed_password_here')
ON CONFLICT (email) DO NOTHING;
*/

-- ================================================
-- VERIFICATION QUERIES (optional)
-- ================================================
/*
-- Check extensions
SELECT * FROM pg_extension WHERE extname = 'vector';

-- Check tables
SELECT table_name FROM information_schema.tables
WHERE table_schema = current_schema()
ORDER BY table_name;

-- Check indexes
SELECT indexname, tablename FROM pg_indexes
WHERE schemaname = current_schema()
ORDER BY tablename, indexname;

-- Check functions
SELECT routine_name FROM information_schema.routines
WHERE routine_type = 'FUNCTION'
AND routine_schema = current_schema();
*/
