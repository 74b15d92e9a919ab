"""The API of Amazon Rekognition for faces: JSON 1.1 with signatures of version 4."""
