#!/bin/sh
# Builds the samples to build-linux/ (sample and, where CUDA is installed, sample_gpu) and runs them.
set -e
cd "$(dirname "$0")"

echo "Compiler: $("${CXX:-c++}" --version | head -n 1)"
echo "Architecture: $(uname -m)"

cmake -S . -B build-linux -DCMAKE_BUILD_TYPE=Release
cmake --build build-linux

build-linux/sample
python3 sample_on_python.py

if [ -x build-linux/sample_gpu ]; then
    if sh get_gpu_version.sh; then
        build-linux/sample_gpu
        python3 sample_on_python_gpu.py
    else
        echo "build-linux/sample_gpu was built and not run."
    fi
fi
