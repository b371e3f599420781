# Two images: `services` (inventory and order) and `load-test` (oversell).
# RUST_IMAGE and RUNTIME_IMAGE may be any Debian-based pair whose runtime is not older than the builder.
#
# As `./demo` builds them: without TLS, etcd and ZooKeeper, which docker-compose.yml does not use, in five to ten minutes
# on two cores. With everything, optimised in full: --build-arg PROFILE=release --build-arg FEATURES=
ARG RUST_IMAGE=rust:1.95-slim-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

# The manifests, with the source of every crate emptied: this stage changes only when a dependency does.
FROM ${RUST_IMAGE} AS manifests
WORKDIR /src
COPY . .
RUN find . -type f ! -name Cargo.toml ! -name Cargo.lock \
      ! -name lib.rs ! -name main.rs ! -name build.rs ! -path '*/src/bin/*' \
      ! -path '*/benches/*' ! -path '*/examples/*' -delete \
 && find . -name '*.rs' | while read -r file; do echo 'fn main() {}' > "$file"; done \
 && find . -type d -empty -delete

FROM ${RUST_IMAGE} AS build
ARG PROFILE=demo
ARG FEATURES=--no-default-features
# Only the client of etcd needs protoc.
RUN [ -n "$FEATURES" ] || { apt-get update \
 && apt-get install -y --no-install-recommends protobuf-compiler libprotobuf-dev \
 && rm -rf /var/lib/apt/lists/*; }
WORKDIR /src
COPY --from=manifests /src .
# The cached layer: all dependencies, none of our code.
RUN cargo build --profile "$PROFILE" $FEATURES --locked -p inventory -p order -p load-tests
COPY . .
# Cargo compares time stamps, and a checkout may be older than the layer above.
RUN find crates services load-tests -name '*.rs' -exec touch {} + \
 && cargo build --profile "$PROFILE" $FEATURES --locked -p inventory -p order -p load-tests \
 && mkdir /out && cp "target/$PROFILE/inventory" "target/$PROFILE/order" "target/$PROFILE/oversell" /out/

FROM ${RUNTIME_IMAGE} AS runtime
# A health check needs one TCP connection and one line of HTTP, so the image contains no curl.
RUN printf '%s\n' '#!/bin/bash' \
      '# ready PORT: does this container answer 200 on /readyz?' \
      'exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1' \
      'printf "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" >&3' \
      'read -r -t 5 _ status _ <&3 && [ "$status" = 200 ]' > /usr/local/bin/ready \
 && chmod 755 /usr/local/bin/ready
# A numeric user, so that an orchestrator can verify that it is not root.
USER 10001:10001

FROM runtime AS services
COPY --from=build /out/inventory /out/order /usr/local/bin/
CMD ["order"]

FROM runtime AS load-test
COPY --from=build /out/oversell /usr/local/bin/
# Reports are written to a folder of the host: oversell runs as the owner of that folder, without any capability. Root is
# needed only to become that user.
USER 0:0
WORKDIR /work
RUN mkdir reports && chown 10001:10001 reports
ENTRYPOINT ["sh", "-c", "exec setpriv --reuid=$(stat -c %u reports) --regid=$(stat -c %g reports) --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs oversell \"$@\"", "oversell"]
CMD ["run", "--help"]
