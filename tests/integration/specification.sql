-- A database as the specification's own script leaves it: its tables, its index on nothing, its functions without repair.
CREATE EXTENSION IF NOT EXISTS vector;
CREATE TABLE users (id SERIAL PRIMARY KEY, name VARCHAR(255) NOT NULL, email VARCHAR(255) UNIQUE NOT NULL,
    password VARCHAR(255) NOT NULL, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP);
CREATE INDEX idx_users_email ON users(email);
CREATE TABLE photos (id SERIAL PRIMARY KEY, user_id INTEGER NOT NULL, filename VARCHAR(255) NOT NULL, filepath TEXT NOT NULL,
    width INTEGER DEFAULT 224, height INTEGER DEFAULT 224, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE);
CREATE TABLE face_embeddings (id SERIAL PRIMARY KEY, user_id INTEGER NOT NULL, photo_id INTEGER,
    embedding vector(512) NOT NULL, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE,
    FOREIGN KEY (photo_id) REFERENCES photos(id) ON DELETE SET NULL);
CREATE INDEX idx_embeddings_vector ON face_embeddings USING ivfflat (embedding vector_cosine_ops) WITH (lists = 100);
CREATE FUNCTION find_similar_face(query_embedding vector(512), similarity_threshold float DEFAULT 0.7)
RETURNS TABLE(user_id INTEGER, user_name VARCHAR, user_email VARCHAR, similarity float, embedding_id INTEGER)
AS $$ BEGIN RETURN QUERY SELECT u.id, u.name, u.email, 1 - (fe.embedding <=> query_embedding), fe.id
    FROM face_embeddings fe JOIN users u ON fe.user_id = u.id WHERE 1 - (fe.embedding <=> query_embedding)
    >= similarity_threshold ORDER BY fe.embedding <=> query_embedding LIMIT 1; END; $$ LANGUAGE plpgsql;
CREATE FUNCTION verify_face(query_embedding vector(512), target_user_id INTEGER, similarity_threshold float DEFAULT 0.7)
RETURNS TABLE(match BOOLEAN, similarity float, user_name VARCHAR, user_email VARCHAR)
AS $$ BEGIN RETURN QUERY SELECT TRUE, MAX(1 - (fe.embedding <=> query_embedding)), MAX(u.name), MAX(u.email)
    FROM face_embeddings fe JOIN users u ON fe.user_id = u.id WHERE fe.user_id = target_user_id GROUP BY u.id;
    END; $$ LANGUAGE plpgsql;
CREATE FUNCTION get_user_embeddings_count(target_user_id INTEGER) RETURNS INTEGER AS $$
    DECLARE count INTEGER; BEGIN SELECT COUNT(*) INTO count FROM face_embeddings WHERE user_id = target_user_id;
    RETURN count; END; $$ LANGUAGE plpgsql;
CREATE FUNCTION update_updated_at_column() RETURNS TRIGGER AS $$
    BEGIN NEW.updated_at = CURRENT_TIMESTAMP; RETURN NEW; END; $$ LANGUAGE plpgsql;
CREATE TRIGGER update_face_embeddings_updated_at BEFORE UPDATE ON face_embeddings
    FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();
