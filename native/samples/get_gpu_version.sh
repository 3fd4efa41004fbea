#!/bin/sh
# Says which CUDA compiler is installed, and the option that makes it build for this machine's GPU.
# Machine-readable part: the last line, "Compile option: -gencode arch=compute_XX,code=sm_XX".

nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
if [ ! -x "$nvcc" ]; then
    echo "nvcc was not found: install the CUDA toolkit, or set NVCC to its compiler." >&2
    exit 1
fi
"$nvcc" --version || exit 1

# The driver's tool knows the GPUs; the toolkit has a helper that asks them, too.
architectures=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | tr -d '. ' | grep -E '^[0-9]+$')
if [ -z "$architectures" ]; then
    helper=$(dirname "$(readlink -f "$nvcc")")/__nvcc_device_query
    [ -x "$helper" ] && architectures=$("$helper" 2>/dev/null | tr ',' '\n' | grep -E '^[0-9]+$')
fi
if [ -z "$architectures" ]; then
    echo "No NVIDIA GPU was found. This nvcc builds for:" >&2
    "$nvcc" --list-gpu-code 2>/dev/null | tr '\n' ' ' >&2
    echo >&2
    exit 1
fi

options=$(echo "$architectures" | sort -nu | sed 's/.*/-gencode arch=compute_&,code=sm_&/' | tr '\n' ' ')
echo "Compile option: ${options% }"
