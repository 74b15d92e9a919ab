-- The scale of confidence: 0 at the median of pairs of strangers, and 50 at FMR 1e-2 instead of 60.

-- Where the anchors are of the scale before, it had 40 at FMR 1e-1. The median follows from that anchor and the one of FMR 1e-2 by
-- a normal distribution, whose 90 % and 99 % points are 1.2816 and 2.3263 standard deviations above the median:
-- 1.2816 / (2.3263 - 1.2816) = 1.2267. `pgface calibrate` measures it.
INSERT INTO confidence_anchors (similarity, confidence, fmr, extrapolated)
SELECT GREATEST(tenth.similarity - 1.2267 * (hundredth.similarity - tenth.similarity), -0.9999), 0, 0.5, TRUE
FROM confidence_anchors tenth, confidence_anchors hundredth
WHERE tenth.fmr = 0.1 AND hundredth.fmr = 0.01
ON CONFLICT (similarity) DO NOTHING;
DELETE FROM confidence_anchors WHERE fmr = 0.1;
UPDATE confidence_anchors SET confidence = 50 WHERE fmr = 0.01 AND confidence <> 50;
