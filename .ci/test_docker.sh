#!/usr/bin/env bash
# Builds the images of docker/Dockerfile and docker/docker-jupyter/Dockerfile and tries them: as their user, on the CPU, without a
# network. Uses docker where a daemon answers, otherwise buildah, as root, which needs none.
#
# TOOL                  docker or buildah, in place of that choice
# BASE                  the base image. With buildah, if no registry has it, debootstrap makes one.
# TORCH_CUDA_ARCH_LIST  architectures to compile for, here by default "9.0+PTX"; empty: without CUDA
# TORCH                 what pip is to install, by default "torch torchvision"
# BUILD_OPTIONS         more options for `docker build` or `buildah bud`, split at spaces: what this machine's network needs and
#                       the image must not hold, as -v CERTIFICATES:CERTIFICATES:ro -v /etc/pip.conf:/etc/pip.conf:ro (buildah)
#                       or --build-arg HTTPS_PROXY=... (either)
# STORAGE_DRIVER        of buildah, by default overlay; vfs works everywhere and takes several times the 8 GB
# KEEP                  1: leave the images, for a faster second time
set -euo pipefail

cd "$(dirname "$0")/.."
python=${PYTHON:-python}
folder=$PWD/.docker
image=localhost/maskrcnn-benchmark-check
jupyter=$image-jupyter
architectures=${TORCH_CUDA_ARCH_LIST-9.0+PTX}
debian=bookworm
base=${BASE:-debian:$debian-slim}
read -ra build_options <<<"${BUILD_OPTIONS:-}"

tool=${TOOL:-}
if [ -z "$tool" ]; then
    if docker info >/dev/null 2>&1; then
        tool=docker
    elif command -v buildah >/dev/null; then
        tool=buildah
    else
        echo "error: no docker daemon answers, and there is no buildah; on Debian or Ubuntu: apt install buildah debootstrap" >&2
        exit 1
    fi
fi
if [ "$tool" = buildah ] && [ "$(id -u)" != 0 ]; then
    echo "error: buildah without a daemon is used here as root; start make docker as root, or a docker daemon." >&2
    exit 1
fi

export STORAGE_DRIVER=${STORAGE_DRIVER:-overlay}
buildah=(buildah --root "$folder/root" --runroot "$folder/run")

build() { # tag, arguments
    local tag=$1
    shift
    case $tool in
        docker) docker build ${build_options[@]+"${build_options[@]}"} -t "$tag" "$@" ;;
        buildah) "${buildah[@]}" bud --isolation chroot --layers ${build_options[@]+"${build_options[@]}"} -t "$tag" "$@" ;;
    esac
}

run() { # image, command: as the image's user, with .ci and .docker/reader to read, without a network
    local tag=$1 container status=0
    shift
    case $tool in
        docker)
            docker run --rm --network none --shm-size 1g -v "$PWD/.ci:/check/.ci:ro" -v "$folder/reader:/check/reader:ro" \
                "$tag" "$@"
            ;;
        buildah)
            container=$("${buildah[@]}" from "$tag")
            # This isolation has no networks of its own. buildah passes the image's entrypoint over.
            unshare --net -- bash -euc 'ip link set lo up; exec "$@"' - \
                "${buildah[@]}" run --isolation chroot \
                -v "$PWD/.ci:/check/.ci:ro" -v "$folder/reader:/check/reader:ro" "$container" -- /usr/bin/tini -s -- "$@" || status=$?
            "${buildah[@]}" rm "$container" >/dev/null
            return "$status"
            ;;
    esac
}

clean() {
    if [ "${KEEP:-}" = 1 ]; then return; fi
    if [ "$tool" = docker ]; then
        docker image rm --force "$jupyter" "$image" >/dev/null 2>&1 || true
    else
        "${buildah[@]}" rm --all >/dev/null 2>&1 || true
        "${buildah[@]}" rmi --all --force >/dev/null 2>&1 || true
    fi
    rm -rf "$folder"
}
trap clean EXIT
mkdir -p "$folder/reader"

# A reader of the compiled code of its own: the image's must not be needed for it.
if [ -n "$architectures" ] && [ ! -e "$folder/reader/nvidia/cu13/bin/cuobjdump" ]; then
    "$python" -m pip install --quiet --target "$folder/reader" --no-deps nvidia-cuda-cuobjdump
fi

has() { "${buildah[@]}" inspect --type image "$1" >/dev/null 2>&1; }
if [ "$tool" = buildah ] && ! has "$base" && ! timeout 60 "${buildah[@]}" pull --quiet "$base" 2>/dev/null; then
    if [ -n "${BASE:-}" ]; then
        echo "error: no registry gives $BASE here; leave BASE out, and debootstrap makes a base image." >&2
        exit 1
    fi
    base=localhost/debian:$debian-slim
    if ! has "$base"; then
        echo "test_docker.sh: no registry answers; debootstrap makes the base image"
        rm -rf "$folder/debian"
        debootstrap --variant=minbase --include=ca-certificates "$debian" "$folder/debian" >"$folder/debootstrap.log" || {
            tail -n 5 "$folder/debootstrap.log" >&2
            echo "error: debootstrap failed; without it, name in BASE an image that a registry gives." >&2
            exit 1
        }
        container=$("${buildah[@]}" from scratch)
        "${buildah[@]}" add --quiet "$container" "$folder/debian" / >/dev/null
        "${buildah[@]}" commit --quiet --rm "$container" "$base" >/dev/null
        rm -rf "$folder/debian"
    fi
fi

if [ -n "$architectures" ]; then
    arguments=(--build-arg "TORCH_CUDA_ARCH_LIST=$architectures")
else
    arguments=(--build-arg CUDA=0)
fi
began=$SECONDS
build "$image" -f docker/Dockerfile --build-arg "BASE=$base" --build-arg "TORCH=${TORCH:-torch torchvision}" "${arguments[@]}" .
built=$((SECONDS - began))
run "$image" bash /check/.ci/check_image.sh "$architectures" /check/reader/nvidia/cu13/bin/cuobjdump

build "$jupyter" --build-arg "BASE=$image" docker/docker-jupyter
run "$jupyter" bash /check/.ci/check_jupyter.sh

case $tool in
    docker) bytes=$(docker image inspect --format '{{.Size}}' "$image") ;;
    buildah) bytes=$("${buildah[@]}" images --json "$image" | "$python" -c 'import json, sys; print(json.load(sys.stdin)[0]["size"])') ;;
esac
echo "test_docker.sh: passed with $tool in $((SECONDS - began)) s, of which building $built s; the image: $bytes"
