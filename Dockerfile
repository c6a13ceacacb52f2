# Build with `make image`. The program is linked with everything that it needs, so its image has nothing else.
# The digest is that of rust:1.95-slim-bookworm.
ARG RUST_IMAGE=rust:1.95-slim-bookworm@sha256:d7482085ff5b415f84dba5647ae71606650bdef00db7aeb69f4b3d170c3e4082
FROM ${RUST_IMAGE} AS build
WORKDIR /build
# Writes into the program which crates it is made of, where scanners find it.
RUN cargo install --locked --version 0.7.7 cargo-auditable
# Dependencies first, so that a change of the code does not build them again. The benches are never
# built here, but Cargo.toml names them.
COPY Cargo.toml Cargo.lock build.rs ./
COPY contract/Cargo.toml contract/build.rs contract/
COPY sandbox/Cargo.toml sandbox/
COPY proto proto
COPY scripts/static scripts/
RUN mkdir -p src benches contract/src sandbox/src \
    && echo 'fn main() {}' | tee src/main.rs benches/gateway.rs > benches/cache.rs \
    && echo '' | tee src/lib.rs contract/src/lib.rs > sandbox/src/lib.rs \
    && scripts/static /tmp/placeholder \
    && rm -rf src contract/src sandbox/src
COPY contract/src contract/src
COPY sandbox/src sandbox/src
COPY src src
# Newer than what was built from the placeholders.
RUN touch src/main.rs src/lib.rs contract/src/lib.rs sandbox/src/lib.rs \
    && scripts/static /image/usr/local/bin/profile-gateway
# Roots for HTTPS to the upstreams, a name for the user, and a place for the store: a volume there has its owner.
COPY LICENSE /image/LICENSE
RUN mkdir -p /image/etc/ssl/certs /image/state/profile-gateway \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && echo 'profile-gateway:x:65532:65532::/:/' > /image/etc/passwd \
    && echo 'profile-gateway:x:65532:' > /image/etc/group \
    && chmod 0700 /image/state/profile-gateway

FROM scratch
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="profile-gateway" \
    org.opencontainers.image.description="One gRPC API over IoT service profiles that live in several upstream systems" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
COPY --from=build /image/etc /etc
COPY --from=build /image/LICENSE /LICENSE
COPY --from=build --chown=65532:65532 /image/state /var/lib
COPY --from=build /image/usr /usr
USER 65532:65532
# Where the mounted file puts gRPC and probes. The port for operators stays on a loopback address.
# Who may call has to be said there too, in [auth].
EXPOSE 50051 9091
STOPSIGNAL SIGTERM
# An address, so that a mistake in the file, which a gateway that runs does not take over, makes nothing unhealthy.
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/profile-gateway", "health", "--address", "127.0.0.1:9091"]
ENTRYPOINT ["/usr/local/bin/profile-gateway"]
CMD ["serve", "--config", "/etc/profile-gateway/gateway.toml"]
