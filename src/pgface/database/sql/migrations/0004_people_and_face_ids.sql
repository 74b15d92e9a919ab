-- What other systems know about people and faces: ids of their own, labels, and metadata.
ALTER TABLE users ADD COLUMN IF NOT EXISTS external_id TEXT DEFAULT NULL CHECK (length(external_id) BETWEEN 1 AND 255);
ALTER TABLE users ADD COLUMN IF NOT EXISTS labels TEXT[] NOT NULL DEFAULT '{}';
ALTER TABLE users ADD COLUMN IF NOT EXISTS metadata JSONB NOT NULL DEFAULT '{}'
    CHECK (jsonb_typeof(metadata) = 'object' AND octet_length(metadata::text) <= 16384);
-- A face that no person was assigned to yet belongs to a user of its own. Lists of people leave these users out.
ALTER TABLE users ADD COLUMN IF NOT EXISTS is_person BOOLEAN NOT NULL DEFAULT TRUE;

CREATE UNIQUE INDEX IF NOT EXISTS idx_users_external_id ON users(external_id);
CREATE INDEX IF NOT EXISTS idx_users_labels ON users USING gin (labels);

-- Lasting ids of faces for programs that were written for another service. Such a program keeps an id for years, so an import
-- can set it, and enrolling the same photo again does not have to change it.
CREATE TABLE IF NOT EXISTS face_ids (
    face_id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    embedding_id INTEGER UNIQUE NOT NULL REFERENCES face_embeddings(id) ON DELETE CASCADE,
    image_id UUID NOT NULL DEFAULT gen_random_uuid(),
    external_image_id TEXT CHECK (length(external_image_id) BETWEEN 1 AND 255)
);

CREATE INDEX IF NOT EXISTS idx_face_ids_image_id ON face_ids(image_id);
