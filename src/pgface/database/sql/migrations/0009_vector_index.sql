-- Whether pgface keeps idx_embeddings_vector in a gallery that it scans exactly. That index serves SQL of one's own that orders by
-- distance; whoever has none does without it (`pgface index build --method exact`), and then it must not come back by itself.
ALTER TABLE gallery_search ADD COLUMN IF NOT EXISTS vector_index_wanted BOOLEAN NOT NULL DEFAULT TRUE;
